//! From the flags to an open stream: probes every endpoint, and asks the best member first.

use super::choice::{self, Candidate};
use super::connection::Connection;
use super::dialer::{Dialer, Prepared};
use super::endpoint::Endpoint;
use super::failure;
use super::member::ConnectedMember;
use super::stream::Snapshot;
use super::wait::unless_interrupted;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Probes the endpoints, chooses a member and opens its snapshot stream. Warnings (skipped endpoints) go to tracing.
/// Needs a tokio runtime with I/O and time.
///
/// # Errors
/// [`Kind::Usage`] for endpoints or TLS files that cannot be used, before anything is dialed. Else, if no member serves, the
/// most telling of the endpoints' errors; its message names each of them.
pub async fn open(connection: &Connection, interrupt: &Interrupt) -> Result<Snapshot> {
    let (dialer, prepared) = prepare(connection)?;
    let only_endpoint = prepared.len() == 1;
    let (candidates, mut failures) = unless_interrupted(interrupt, probe_all(dialer, prepared)).await??;
    for error in &failures {
        tracing::debug!("{error}");
    }
    let candidates = choice::order(candidates, only_endpoint)?;
    choice::tell(&candidates);
    for candidate in candidates {
        match Box::pin(Snapshot::open(candidate, connection, interrupt)).await {
            Ok(snapshot) => {
                warn_of(&failures);
                return Ok(snapshot);
            }
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => {
                tracing::debug!("no snapshot from there: {error}");
                failures.push(error);
            }
        }
    }
    Err(failure::most_telling(failures))
}

/// Checks everything that needs no network: the endpoints and the TLS files.
///
/// # Errors
/// [`Kind::Usage`] for endpoints or TLS files that cannot be used, [`Kind::EtcdTls`] where this host has no roots
/// to trust.
pub fn check(connection: &Connection) -> Result<()> {
    prepare(connection).map(drop)
}

fn prepare(connection: &Connection) -> Result<(Dialer, Vec<Prepared>)> {
    let endpoints = Endpoint::parse_all(connection)?;
    let dialer = Dialer::new(connection)?;
    let prepared = endpoints.into_iter().map(|endpoint| dialer.prepare(endpoint)).collect::<Result<_>>()?;
    Ok((dialer, prepared))
}

/// Called only once another member serves: otherwise the returned error names the failures.
fn warn_of(failures: &[Error]) {
    for error in failures {
        tracing::warn!("an endpoint is skipped: {error}");
    }
}

/// Probes all endpoints concurrently; each probe is bounded, so the whole is. Keeps the given order.
async fn probe_all(
    dialer: Dialer,
    prepared: Vec<Prepared>,
) -> Result<(Vec<Candidate<ConnectedMember>>, Vec<Error>)> {
    let dialer = Arc::new(dialer);
    let mut probes = JoinSet::new();
    for (index, prepared) in prepared.into_iter().enumerate() {
        let dialer = Arc::clone(&dialer);
        probes.spawn(async move {
            (
                index,
                prepared.endpoint.given.clone(),
                Box::pin(ConnectedMember::probe(&dialer, &prepared)).await,
            )
        });
    }
    let mut answers = Vec::new();
    while let Some(joined) = probes.join_next().await {
        answers.push(
            joined.map_err(|error| Error::new(Kind::EtcdFault, "a probe broke off").with_source(error))?,
        );
    }
    answers.sort_by_key(|(index, ..)| *index);
    let mut candidates = Vec::new();
    let mut failures = Vec::new();
    for (_, endpoint, answer) in answers {
        match answer {
            Ok((member, status)) => candidates.push(Candidate::new(endpoint, member, status)),
            Err(error) => failures.push(error),
        }
    }
    Ok((candidates, failures))
}
