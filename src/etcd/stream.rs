//! A snapshot stream, read to its clean end.

use super::choice::Candidate;
use super::condition::MemberCondition;
use super::connection::{Connection, TlsMode};
use super::failure;
use super::flow_control::FlowControl;
use super::member::ConnectedMember;
use super::min_rate::{Drip, MinRate};
use super::rate_limit::RateLimit;
use super::rules::StreamRules;
use super::status::{MemberStatus, present};
use super::wait::unless_interrupted;
use crate::error::{Error, Kind, Result, Subject};
use crate::interrupt::Interrupt;
use etcd_client::{SnapshotResponse, SnapshotStreaming};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// An open snapshot stream whose first bytes have arrived.
///
/// Dropping it early cancels the stream, and with it the read transaction that etcd holds open for it.
pub struct Snapshot {
    /// The endpoint that serves it, as given.
    pub endpoint: String,
    /// How the member proved who it is.
    pub tls: TlsMode,
    /// The member's name, where the member list could be read.
    pub member_name: Option<String>,
    /// Status of the same member before the stream.
    pub status: MemberStatus,
    /// The conditions the member reported, and how far it lags behind the other members that were asked.
    pub conditions: Vec<MemberCondition>,
    /// Storage version as reported on the stream (3.6+).
    pub storage_version: Option<String>,
    /// When the snapshot was requested.
    pub requested: Instant,
    /// Announced size in bytes, which may or may not count etcd's 32-byte digest.
    pub announced: u64,
    member: ConnectedMember,
    stream: Stream,
    rules: StreamRules,
    limits: Limits,
    min_rate: MinRate,
    first: Option<Vec<u8>>,
    interrupt: Interrupt,
}

/// The state of the stream. After an error, a further call must not see a clean end.
#[expect(clippy::large_enum_variant, reason = "there is one, inside a Snapshot")]
enum Stream {
    Flowing(SnapshotStreaming),
    Ended,
    Broken,
}

impl Snapshot {
    /// Requests the snapshot and waits for its first bytes.
    ///
    /// # Errors
    /// The error that etcd answers instead, and the errors of [`Self::next`].
    pub(super) async fn open(
        candidate: Candidate<ConnectedMember>,
        connection: &Connection,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let Candidate { endpoint, mut member, status, conditions } = candidate;
        let member_name = unless_interrupted(interrupt, member.name(status.member_id)).await?;
        let limits = Limits::from_now(connection, member.rate_limit().cloned());
        let wait = limits.wait_for_member();
        member.flow_control().guard();
        let requesting = limits.bound(wait, member.snapshot());
        let stream = match unless_interrupted(interrupt, requesting).await? {
            Ok(requested) => requested.map_err(before_first_byte)?,
            Err(exceeded) => {
                return Err(limits
                    .error(exceeded, "before its first byte")
                    .about(Subject::Endpoint(endpoint)));
            }
        };
        let mut snapshot = Self {
            endpoint,
            tls: connection.tls_of(member.endpoint()),
            member_name,
            status,
            conditions,
            storage_version: None,
            requested: wait.since,
            announced: 0,
            member,
            stream: Stream::Flowing(stream),
            rules: StreamRules::default(),
            limits,
            min_rate: MinRate::new(connection.min_rate, connection.stall_timeout, connection.limit_rate),
            first: None,
            interrupt: interrupt.clone(),
        };
        snapshot.fetch_first(wait).await?;
        Ok(snapshot)
    }

    async fn fetch_first(&mut self, wait: Wait) -> Result<()> {
        self.first = self.fetch(wait).await?;
        // The rules refuse a clean end without a byte, so there is an announcement.
        self.announced = self.rules.announced().unwrap_or_default();
        Ok(())
    }

    /// The next bytes; `None` at the clean end of the stream.
    ///
    /// # Errors
    /// [`Kind::EtcdStalled`], [`Kind::EtcdIncomplete`], [`Kind::EtcdBadSnapshot`], [`Kind::EtcdTimeout`] and
    /// [`Kind::Interrupted`]. After any of them the snapshot is lost: asking again fails again.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        self.fetch(self.limits.wait_for_member()).await
    }

    /// Status of the same member after the stream; `None` if it no longer answers.
    ///
    /// # Errors
    /// [`Kind::EtcdBadSnapshot`] where another member answers: then the snapshot may come from either, or from a third.
    pub async fn status_after(&mut self) -> Result<Option<MemberStatus>> {
        // The answer may arrive behind bytes of the stream that are not read any more.
        self.member.flow_control().leave();
        let asked = unless_interrupted(&self.interrupt, self.member.status()).await;
        match asked.and_then(std::convert::identity) {
            Ok(after) => same_member(&self.status, &after)
                .map(|()| Some(after))
                .map_err(|error| error.about(self.subject())),
            Err(error) => {
                tracing::debug!(endpoint = self.endpoint, %error, "no status after the stream");
                Ok(None)
            }
        }
    }

    /// Waits until the reader takes what the stream gave, for as long as the stream itself may stand still.
    ///
    /// # Errors
    /// [`Kind::Io`] where the reader takes nothing, [`Kind::EtcdTimeout`], [`Kind::Interrupted`].
    pub(super) async fn bound<F: Future>(&self, taking: F) -> Result<F::Output> {
        let taking = self.limits.bound(Wait::for_output(), taking);
        match unless_interrupted(&self.interrupt, taking).await? {
            Ok(taken) => Ok(taken),
            Err(Exceeded::Stall) => Err(self.limits.not_taken()),
            Err(Exceeded::Stream) => Err(self.limits.error(Exceeded::Stream, &self.rules.so_far())),
        }
    }

    /// Fetches bytes. The stall timeout counts from the beginning of `wait`; empty messages do not restart it.
    async fn fetch(&mut self, wait: Wait) -> Result<Option<Vec<u8>>> {
        let fetched = self.fetch_or_fail(wait).await;
        match &fetched {
            Ok(Some(_)) => {}
            Ok(None) => {
                self.stream = Stream::Ended;
                // The stream ended in time, even if the reader takes the end late.
                self.limits.stream_timeout = None;
            }
            Err(_) => self.stream = Stream::Broken,
        }
        fetched
    }

    async fn fetch_or_fail(&mut self, wait: Wait) -> Result<Option<Vec<u8>>> {
        loop {
            let Some(message) = self.message(wait).await? else {
                self.rules.end().map_err(|error| error.about(self.subject()))?;
                return Ok(None);
            };
            if self.storage_version.is_none() {
                self.storage_version = present(message.version());
            }
            let carries_bytes = self
                .rules
                .message(message.remaining_bytes(), message.blob().len())
                .map_err(|error| error.about(self.subject()))?;
            if carries_bytes {
                self.min_rate
                    .received(self.limits.waited(wait), message.blob().len())
                    .map_err(|drip| self.too_slow(drip))?;
                return Ok(Some(message.0.blob));
            }
        }
    }

    async fn message(&mut self, wait: Wait) -> Result<Option<SnapshotResponse>> {
        let stream = match &mut self.stream {
            Stream::Flowing(stream) => stream,
            Stream::Ended => return Ok(None),
            Stream::Broken => {
                let what = "the snapshot stream has failed before";
                return Err(Error::new(Kind::EtcdIncomplete, what).about(self.subject()));
            }
        };
        let flow_control = self.member.flow_control();
        let receiving = self.limits.bound(wait, telling(flow_control, stream.message()));
        match unless_interrupted(&self.interrupt, receiving).await? {
            Ok(Ok(message)) => {
                flow_control.taken(message.as_ref().map_or(0, |message| message.blob().len()));
                Ok(message)
            }
            Ok(Err(error)) => Err(self.broken(error)),
            Err(exceeded) => Err(self.limits.error(exceeded, &self.rules.so_far()).about(self.subject())),
        }
    }

    fn subject(&self) -> Subject {
        Subject::Endpoint(self.endpoint.clone())
    }

    fn too_slow(&self, drip: Drip) -> Error {
        let what = format!(
            "the snapshot stream drips {}: {} bytes in {:?} of waiting for the member",
            self.rules.so_far(),
            drip.bytes,
            drip.window
        );
        Error::new(Kind::EtcdStalled, what).about(self.subject()).with_hint(
            "look at the member's disk and load, at the network and at what stands between; \
             name another member with `endpoints`, or lower `min_rate`, or turn it off with 0",
        )
    }

    fn broken(&self, error: etcd_client::Error) -> Error {
        let kind = if failure::is_malformed_message(&error) {
            Kind::EtcdBadSnapshot
        } else if self.rules.announced().is_none() {
            return before_first_byte(failure::calling(self.member.endpoint(), "snapshot", error));
        } else {
            Kind::EtcdIncomplete
        };
        let cause = failure::in_short(&error);
        let what = format!("the snapshot stream broke {}: {cause}", self.rules.so_far());
        Error::new(kind, what).about(self.subject()).with_source(error)
    }
}

/// Refuses a snapshot where the member after the stream is not the member before it.
fn same_member(before: &MemberStatus, after: &MemberStatus) -> Result<()> {
    let ids = |status: &MemberStatus| (status.cluster_id, status.member_id);
    if ids(before) == ids(after) {
        return Ok(());
    }
    let what = format!(
        "member {:016x} of cluster {:016x} answered before the snapshot, but member {:016x} of cluster {:016x} after it",
        before.member_id, before.cluster_id, after.member_id, after.cluster_id
    );
    Err(Error::new(Kind::EtcdBadSnapshot, what).with_hint(
        "a proxy or load balancer sends the calls to different members: name the members themselves",
    ))
}

/// A member that answered its status is reachable, so a later break is a break of the stream.
fn before_first_byte(error: Error) -> Error {
    if error.kind() == Kind::EtcdUnreachable { error.into_kind(Kind::EtcdIncomplete) } else { error }
}

/// Waits for `message`, and tells the gate when none has arrived.
async fn telling<F: Future>(flow_control: &FlowControl, message: F) -> F::Output {
    let mut message = pin!(message);
    poll_fn(|context| {
        let polled = message.as_mut().poll(context);
        if polled.is_pending() {
            flow_control.awaited();
        }
        polled
    })
    .await
}

/// The time limits of one stream.
struct Limits {
    requested: Instant,
    stall_timeout: Duration,
    stream_timeout: Option<Duration>,
    rate_limit: Option<Arc<RateLimit>>,
}

/// Which limit ran out.
#[derive(Clone, Copy)]
enum Exceeded {
    Stall,
    Stream,
}

#[derive(Clone, Copy)]
struct Wait {
    since: Instant,
    /// How long the limit had held the member back before; `None` where the wait is not for the member.
    held_before: Option<Duration>,
}

impl Wait {
    /// A wait for the reader, beginning now.
    fn for_output() -> Self {
        Self { since: Instant::now(), held_before: None }
    }
}

impl Limits {
    fn from_now(connection: &Connection, rate_limit: Option<Arc<RateLimit>>) -> Self {
        Self {
            requested: Instant::now(),
            stall_timeout: connection.stall_timeout,
            stream_timeout: connection.stream_timeout,
            rate_limit,
        }
    }

    /// A wait for the member, beginning now. The time for which the limit holds the member back meanwhile is added to it.
    fn wait_for_member(&self) -> Wait {
        Wait { since: Instant::now(), held_before: Some(self.held()) }
    }

    fn held(&self) -> Duration {
        self.rate_limit.as_ref().map_or(Duration::ZERO, |rate_limit| rate_limit.held())
    }

    /// How long the stream has waited for the member since `wait` began, without the time the limit held it back.
    fn waited(&self, wait: Wait) -> Duration {
        let held = wait.held_before.map_or(Duration::ZERO, |before| self.held().saturating_sub(before));
        wait.since.elapsed().saturating_sub(held)
    }

    /// The time left of the limit that runs out first.
    fn left(&self, wait: Wait) -> (Duration, Exceeded) {
        let held = wait.held_before.map_or(Duration::ZERO, |before| self.held().saturating_sub(before));
        let stall_left = self.stall_timeout.saturating_add(held).saturating_sub(wait.since.elapsed());
        let stream_left =
            self.stream_timeout.map_or(Duration::MAX, |limit| limit.saturating_sub(self.requested.elapsed()));
        if stream_left < stall_left { (stream_left, Exceeded::Stream) } else { (stall_left, Exceeded::Stall) }
    }

    async fn bound<F: Future>(&self, wait: Wait, future: F) -> Result<F::Output, Exceeded> {
        let mut future = pin!(future);
        loop {
            let (left, exceeded) = self.left(wait);
            // A stream that is always ready would never reach the timer.
            if left.is_zero() && matches!(exceeded, Exceeded::Stream) {
                return Err(Exceeded::Stream);
            }
            match timeout(left, &mut future).await {
                Ok(output) => return Ok(output),
                // The limit may have held the member back since.
                Err(_) if !self.left(wait).0.is_zero() => {}
                Err(_) => return Err(exceeded),
            }
        }
    }

    fn not_taken(&self) -> Error {
        let limit = self.stall_timeout;
        Error::new(Kind::Io, format!("the output stood still: it took not a byte for {limit:?}"))
            .with_hint("look at the disk, or at the reader of the pipe; `stall_timeout` is how long etcd is kept waiting")
    }

    fn error(&self, exceeded: Exceeded, so_far: &str) -> Error {
        match (exceeded, self.stream_timeout) {
            (Exceeded::Stream, Some(limit)) => Error::new(
                Kind::EtcdTimeout,
                format!("the snapshot stream was not done within {limit:?}, {so_far}"),
            )
            .with_hint(
                "raise `command_timeout`, or leave it and ETCDCTL_COMMAND_TIMEOUT out: \
                 then only `stall_timeout` bounds the stream",
            ),
            _ => Error::new(
                Kind::EtcdStalled,
                format!("the snapshot stream stood still {so_far}: not a byte for {:?}", self.stall_timeout),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_spent_stream_timeout_ends_even_what_is_ready() {
        let spent = Limits {
            requested: Instant::now(),
            stall_timeout: Duration::from_secs(60),
            stream_timeout: Some(Duration::ZERO),
            rate_limit: None,
        };
        let bounded = spent.bound(spent.wait_for_member(), async {}).await;
        assert!(matches!(bounded, Err(Exceeded::Stream)));
    }

    fn is_send<T: Send>(_: &T) {}

    /// The pipeline drives these futures from its own thread; this test need only compile.
    #[test]
    fn everything_may_cross_threads() {
        let _ = |connection: &Connection, interrupt: &Interrupt, mut snapshot: Snapshot| {
            is_send(&crate::etcd::open(connection, interrupt));
            is_send(&snapshot);
            is_send(&snapshot.next());
            is_send(&snapshot.status_after());
        };
    }
}
