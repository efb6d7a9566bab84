//! A live etcd as a source of a snapshot: endpoints, TLS, authentication, member choice, the stream.
//!
//! [`open`] opens a snapshot stream, [`check`] does the part of it that needs no network, and [`Client`] examines one
//! member. [`open`] parses every endpoint (`endpoint`) and reads every TLS file (`tls`, `tls_files`) before the first connection. Then
//! each endpoint gets a client of its own (`dialer`, `member`), because a balanced client could send Status to one member
//! and Snapshot to another. It probes all of them at once, chooses the best (`choice`), and reads its stream under `rules`,
//! which trust nothing a server says about sizes; [`Snapshot::reader`] hands the stream to a thread that may block. Between
//! the socket and HTTP/2, a `link` reads in large pieces, under flow control and a rate limit. `failure`
//! names the errors, after a second look by `diagnosis` where the first tells too little. `trust` alone decides which
//! certificates of members are accepted, and `tls_fault` says why one was not.

mod causes;
mod certificate;
mod choice;
mod client;
mod condition;
mod connection;
mod diagnosis;
mod dialer;
mod distrust;
mod endpoint;
mod endpoint_security;
mod expiry;
mod failure;
mod flow_control;
mod link;
mod member;
mod min_rate;
mod pem;
mod probe;
mod rate_limit;
mod reader;
mod rules;
mod status;
mod stream;
mod tls;
mod tls_fault;
mod tls_files;
mod trust;
mod wait;

pub use client::{Client, HashKv, ListedMember};
pub use condition::MemberCondition;
pub use connection::{Connection, TlsMode};
pub use endpoint_security::EndpointSecurity;
pub use expiry::expiry;
pub use probe::{check, open};
pub use rate_limit::LOWEST_RATE;
pub use reader::{SnapshotReader, StreamEnd};
pub use status::MemberStatus;
pub(crate) use status::present;
pub use stream::Snapshot;
