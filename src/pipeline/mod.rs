//! Joins the other rooms: [`seal`] writes a snapshot into an archive, [`open`] reads an archive back into the snapshot,
//! [`inspect`] reads its two ends, [`restore`] turns it into the members of a new cluster, and [`drill`] runs such a cluster
//! and tests it. [`salvage`] gets a snapshot out of the data directory of a dead member. How the bytes go from stage to stage is in `engine`.

pub mod age;
pub mod drill;
mod engine;
pub mod inspect;
pub mod instructions;
pub mod member;
pub mod open;
mod packed;
pub mod predecessor;
pub mod private_etcd;
pub mod restore;
pub mod salvage;
pub mod seal;
pub mod snapshot_pages;
pub mod space;
pub(crate) mod units;
pub mod unseal;

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "offsets in archives of a few hundred kilobytes")]
mod tests;
