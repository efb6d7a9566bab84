//! The source against servers that do what no real etcd can be made to do.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::connection;
use etcd_client::proto::{
    PbAlarmRequest, PbAlarmResponse, PbDefragmentRequest, PbDefragmentResponse, PbDowngradeRequest,
    PbDowngradeResponse, PbHashKvRequest, PbHashKvResponse, PbHashRequest, PbHashResponse,
    PbMaintenanceServer, PbMaintenanceService, PbMoveLeaderRequest, PbMoveLeaderResponse, PbResponseHeader,
    PbSnapshotRequest, PbSnapshotResponse, PbStatusRequest, PbStatusResponse,
};
use etcd_seal::error::{Error, Kind};
use etcd_seal::etcd::{self, Connection, Snapshot};
use etcd_seal::interrupt::Interrupt;
use std::future::pending;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

/// What a fake member does when asked for a snapshot.
#[derive(Clone)]
enum Step {
    /// One message: `remaining_bytes` and the length of its blob.
    Send(u64, usize),
    /// The same message, again and again.
    Repeat(u64, usize),
    /// Nothing any more, and no end.
    Hang,
    /// An error instead of an end.
    Fail(Code, &'static str),
}

use Step::{Fail, Hang, Repeat, Send};

/// A member of etcd that follows a script. Its own runtime dies with it, connections and all.
struct Fake {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

/// How the fake answers.
#[derive(Clone, Default)]
struct Script {
    status: PbStatusResponse,
    silent_at_status: bool,
    silent_at_snapshot: bool,
    version: &'static str,
    steps: Vec<Step>,
}

impl Script {
    fn of(steps: &[Step]) -> Self {
        let header = PbResponseHeader { cluster_id: 1, member_id: 2, revision: 3, raft_term: 4 };
        let status =
            PbStatusResponse { header: Some(header), version: "3.5.0".to_owned(), ..Default::default() };
        Self { status, steps: steps.to_vec(), ..Self::default() }
    }
}

impl Fake {
    fn start(script: Script) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener).unwrap());
            let service = PbMaintenanceServer::new(script);
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await
        });
        Self { address, runtime: Some(runtime) }
    }

    fn connection(&self) -> Connection {
        connection(&[self.address.to_string()])
    }

    fn die(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.die();
    }
}

#[tonic::async_trait]
impl PbMaintenanceService for Script {
    type SnapshotStream = ReceiverStream<Result<PbSnapshotResponse, Status>>;

    async fn status(&self, _: Request<PbStatusRequest>) -> Result<Response<PbStatusResponse>, Status> {
        if self.silent_at_status {
            pending::<()>().await;
        }
        Ok(Response::new(self.status.clone()))
    }

    async fn snapshot(
        &self,
        _: Request<PbSnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        if self.silent_at_snapshot {
            pending::<()>().await;
        }
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(play(self.clone(), sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn alarm(&self, _: Request<PbAlarmRequest>) -> Result<Response<PbAlarmResponse>, Status> {
        Err(unheard_of())
    }
    async fn defragment(
        &self,
        _: Request<PbDefragmentRequest>,
    ) -> Result<Response<PbDefragmentResponse>, Status> {
        Err(unheard_of())
    }
    async fn hash(&self, _: Request<PbHashRequest>) -> Result<Response<PbHashResponse>, Status> {
        Err(unheard_of())
    }
    async fn hash_kv(&self, _: Request<PbHashKvRequest>) -> Result<Response<PbHashKvResponse>, Status> {
        Err(unheard_of())
    }
    async fn move_leader(
        &self,
        _: Request<PbMoveLeaderRequest>,
    ) -> Result<Response<PbMoveLeaderResponse>, Status> {
        Err(unheard_of())
    }
    async fn downgrade(
        &self,
        _: Request<PbDowngradeRequest>,
    ) -> Result<Response<PbDowngradeResponse>, Status> {
        Err(unheard_of())
    }
}

fn unheard_of() -> Status {
    Status::unimplemented("not in the script")
}

/// Plays the script; ends early when the client has gone.
async fn play(script: Script, sender: mpsc::Sender<Result<PbSnapshotResponse, Status>>) -> Option<()> {
    let message = |remaining_bytes, length| PbSnapshotResponse {
        remaining_bytes,
        blob: vec![7; length],
        version: script.version.to_owned(),
        header: None,
    };
    for step in script.steps.clone() {
        match step {
            Send(remaining, length) => sender.send(Ok(message(remaining, length))).await.ok()?,
            Repeat(remaining, length) => loop {
                sender.send(Ok(message(remaining, length))).await.ok()?;
            },
            Hang => sender.closed().await,
            Fail(code, text) => sender.send(Err(Status::new(code, text))).await.ok()?,
        }
    }
    Some(())
}

async fn open(connection: &Connection) -> Result<Snapshot, Error> {
    etcd::open(connection, &Interrupt::new()).await
}

/// Opens and reads to the end; returns how many bytes came.
async fn read(connection: &Connection) -> Result<(Snapshot, u64), Error> {
    let mut snapshot = open(connection).await?;
    let mut length = 0;
    while let Some(bytes) = snapshot.next().await? {
        assert!(!bytes.is_empty());
        length += bytes.len() as u64;
    }
    Ok((snapshot, length))
}

async fn outcome(steps: &[Step]) -> Result<(Snapshot, u64), Error> {
    let fake = Fake::start(Script::of(steps));
    read(&fake.connection()).await
}

async fn failure(steps: &[Step]) -> Error {
    outcome(steps).await.err().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_honest_ending_is_read_to_the_clean_end() {
    for (steps, announced, length) in [
        (&[Send(512, 512), Send(0, 512), Send(0, 32)][..], 1024, 1056),
        (&[Send(544, 512), Send(32, 512), Send(0, 32)][..], 1056, 1056),
        (&[Send(512, 512), Send(0, 544)][..], 1024, 1056),
        (&[Send(512, 512), Send(0, 512), Send(0, 1), Send(0, 31)][..], 1024, 1056),
        (
            &[Send(1024, 0), Send(512, 512), Send(512, 0), Send(0, 512), Send(0, 0), Send(0, 32)][..],
            1024,
            1056,
        ),
    ] {
        let (snapshot, read) = outcome(steps).await.unwrap();
        assert_eq!((snapshot.announced, read), (announced, length));
        assert_eq!(snapshot.storage_version, None);
        assert_eq!(snapshot.member_name, None, "no member list, and no harm done");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_version_is_read_from_the_stream() {
    let fake = Fake::start(Script { version: "3.6.0", ..Script::of(&[Send(0, 512), Send(0, 32)]) });
    let snapshot = open(&fake.connection()).await.ok().unwrap();
    assert_eq!(snapshot.storage_version.as_deref(), Some("3.6.0"));
    assert_eq!((snapshot.status.member_id, snapshot.status.revision), (2, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_messages_without_end_are_a_stall() {
    assert_eq!(failure(&[Send(512, 512), Repeat(512, 0)]).await.kind(), Kind::EtcdStalled);
    assert_eq!(failure(&[Repeat(512, 0)]).await.kind(), Kind::EtcdStalled);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_a_stall() {
    for script in [
        Script::of(&[Send(512, 512), Hang]),
        Script::of(&[Send(512, 0), Hang]),
        Script { silent_at_snapshot: true, ..Script::of(&[]) },
    ] {
        let fake = Fake::start(script);
        let impatient = Connection { stall_timeout: Duration::from_secs(1), ..fake.connection() };
        let error = read(&impatient).await.err().unwrap();
        assert_eq!(error.kind(), Kind::EtcdStalled, "{error}");
        assert!(error.to_string().starts_with(&fake.address.to_string()), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_a_silence() {
    let fake = Fake::start(Script::of(&[Send(512, 512), Hang]));
    let interrupt = Interrupt::new();
    let mut snapshot = etcd::open(&fake.connection(), &interrupt).await.ok().unwrap();
    snapshot.next().await.unwrap();
    let waiting = tokio::spawn(async move { snapshot.next().await });
    assert!(interrupt.raise());
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), Kind::Interrupted);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_end_is_incomplete() {
    assert_eq!(failure(&[]).await.kind(), Kind::EtcdIncomplete);
    assert_eq!(failure(&[Send(512, 0)]).await.kind(), Kind::EtcdIncomplete);
    let error = failure(&[Send(512, 512), Send(1, 511)]).await;
    assert_eq!(error.kind(), Kind::EtcdIncomplete);
    assert!(error.to_string().ends_with("the snapshot stream ended after 1023 of 1024 bytes"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_place_of_the_end_is_incomplete_and_stays_an_error() {
    let fake = Fake::start(Script::of(&[Send(0, 512), Send(0, 32), Fail(Code::Unavailable, "going away")]));
    let mut snapshot = open(&fake.connection()).await.ok().unwrap();
    assert_eq!(snapshot.next().await.unwrap().unwrap().len(), 512);
    assert_eq!(snapshot.next().await.unwrap().unwrap().len(), 32);
    let error = snapshot.next().await.unwrap_err();
    assert_eq!(error.kind(), Kind::EtcdIncomplete);
    assert!(error.to_string().ends_with("broke after 544 of 512 bytes: going away"), "{error}");
    assert_eq!(snapshot.next().await.unwrap_err().kind(), Kind::EtcdIncomplete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_dies_mid_stream_leaves_it_incomplete() {
    let mut fake = Fake::start(Script::of(&[Send(512, 512), Hang]));
    let mut snapshot = open(&fake.connection()).await.ok().unwrap();
    snapshot.next().await.unwrap();
    fake.die();
    assert_eq!(snapshot.next().await.unwrap_err().kind(), Kind::EtcdIncomplete);
    assert!(snapshot.status_after().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn contradictions_are_a_bad_snapshot() {
    for steps in [
        &[Send(512, 512), Send(513, 1)][..],
        &[Send(512, 512), Send(0, 512), Send(0, 32), Send(0, 1)][..],
        &[Send(512, 512), Repeat(512, 512)][..],
        &[Send(u64::MAX, 512)][..],
        &[Send(u64::MAX - 600, 512)][..],
        // More than a message may carry: it is refused before it is in memory.
        &[Send(8 << 20, 512), Send(0, 8 << 20)][..],
        &[Send(0, 8 << 20)][..],
    ] {
        let error = failure(steps).await;
        assert_eq!(error.kind(), Kind::EtcdBadSnapshot, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_timeout_bounds_even_a_busy_stream() {
    let fake = Fake::start(Script::of(&[Send(1 << 40, 1), Repeat(1 << 40, 1)]));
    let bounded = Connection { stream_timeout: Some(Duration::from_secs(1)), ..fake.connection() };
    let error = read(&bounded).await.err().unwrap();
    assert_eq!(error.kind(), Kind::EtcdTimeout);
    assert!(error.hint().contains("--command-timeout"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_a_first_byte_gives_way_to_the_next() {
    let good = Fake::start(Script::of(&[Send(0, 512), Send(0, 32)]));
    for steps in [&[][..], &[Fail(Code::Unavailable, "not now")][..], &[Send(u64::MAX, 1)][..]] {
        let bad = Fake::start(Script::of(steps));
        let both = connection(&[bad.address.to_string(), good.address.to_string()]);
        assert_eq!(open(&both).await.ok().unwrap().endpoint, good.address.to_string());
    }
    let late = Fake::start(Script::of(&[Send(512, 512), Fail(Code::Unavailable, "not now")]));
    let both = connection(&[late.address.to_string(), good.address.to_string()]);
    assert_eq!(read(&both).await.err().unwrap().kind(), Kind::EtcdIncomplete, "never two streams in one");
}

#[tokio::test(flavor = "multi_thread")]
async fn learners_and_alarmed_members_stand_back() {
    let steps = [Send(0, 512), Send(0, 32)];
    let mut script = Script::of(&steps);
    script.status.is_learner = true;
    let learner = Fake::start(script);
    let mut script = Script::of(&steps);
    script.status.errors = vec!["memberID:2 alarm:CORRUPT".to_owned()];
    let alarmed = Fake::start(script);
    let mut script = Script::of(&steps);
    script.status.leader = 2;
    let leader = Fake::start(script);
    let fakes = [learner, alarmed, leader];
    let [learner, alarmed, leader] = fakes.each_ref().map(|fake| fake.address.to_string());

    let chosen =
        async |endpoints: &[&String]| open(&connection(endpoints)).await.map(|snapshot| snapshot.endpoint);
    assert_eq!(chosen(&[&learner, &alarmed, &leader]).await.unwrap(), leader);
    assert_eq!(chosen(&[&learner, &alarmed]).await.unwrap(), alarmed);
    assert_eq!(chosen(&[&learner]).await.unwrap(), learner);
    let dead = common::dead_address();
    assert_eq!(chosen(&[&learner, &dead]).await.unwrap_err().kind(), Kind::EtcdUnreachable);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_answers_is_given_up() {
    let silent = Fake::start(Script { silent_at_status: true, ..Script::of(&[]) });
    let impatient = Connection { command_timeout: Duration::from_secs(1), ..silent.connection() };
    let error = open(&impatient).await.err().unwrap();
    assert_eq!(error.kind(), Kind::EtcdTimeout);
    assert!(error.hint().contains("--command-timeout"), "{}", error.hint());

    // A listener whose connections nobody accepts: TCP connects, TLS does not.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}", deaf.local_addr().unwrap());
    let impatient = Connection {
        dial_timeout: Duration::from_secs(1),
        insecure_skip_tls_verify: true,
        ..connection(&[&endpoint])
    };
    let error = open(&impatient).await.err().unwrap();
    assert_eq!(error.kind(), Kind::EtcdTimeout);
    assert!(error.hint().contains("--dial-timeout"), "{}", error.hint());

    let interrupt = Interrupt::new();
    let raiser = interrupt.clone();
    let opening = tokio::spawn(async move { etcd::open(&silent.connection(), &interrupt).await.err() });
    assert!(raiser.raise());
    assert_eq!(opening.await.unwrap().unwrap().kind(), Kind::Interrupted);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tells_most_is_told_and_everybody_is_named() {
    let denying = Fake::start(Script::of(&[Fail(Code::PermissionDenied, "etcdserver: permission denied")]));
    let dead = common::dead_address();
    let error = open(&connection(&[dead.clone(), denying.address.to_string()])).await.err().unwrap();
    assert_eq!(error.kind(), Kind::EtcdAuthentication);
    assert!(error.to_string().contains(&dead), "{error}");
    assert!(error.to_string().contains(&denying.address.to_string()), "{error}");
}
