//! A live etcd as a source of a snapshot: endpoints, TLS, authentication, member choice, the stream.
//!
//! [`open`] is all there is to call for a snapshot, and [`check`] what it does first; [`Client`] asks and tries one member. It reads the flags first and the network second: every endpoint is parsed
//! (`endpoint`) and every TLS file read (`tls`) before the first connection. Then each endpoint gets a client of
//! its own (`dialer`, `member`), because a balanced client could send Status to one member and Snapshot to another.
//! All are probed at once, the best is chosen (`choice`), and its stream is read under the rules of `rules`, which
//! trust nothing a server says about sizes; [`Snapshot::flow`] hands it to a thread that may block. Below all that, between
//! the socket and HTTP/2, a `link` reads in large pieces, no more than is taken (`gate`) and no faster than allowed (`pace`). What goes wrong on the way is named by `failure`,
//! after a second look by `diagnosis` where the first tells too little.

mod choice;
mod client;
mod condition;
mod connection;
mod diagnosis;
mod dialer;
mod endpoint;
mod expiry;
mod failure;
mod flow;
mod gate;
mod link;
mod member;
mod min_rate;
mod pace;
mod probe;
mod rules;
mod status;
mod stream;
mod tls;
mod verifier;
mod wait;

pub use client::{Client, HashKv, ListedMember};
pub use condition::Condition;
pub use connection::{Connection, Tls, Way};
pub use expiry::expiry;
pub use flow::{End, Flow};
pub use pace::LOWEST_RATE;
pub use probe::{check, open};
pub use status::Status;
#[cfg(feature = "cli")]
pub(crate) use status::present;
pub use stream::Snapshot;
