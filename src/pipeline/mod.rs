//! Where the rooms are joined: [`save`] from a source into an archive, [`open`] from an archive to a snapshot.

pub mod open;
pub mod save;
