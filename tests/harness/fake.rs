//! A server that speaks etcd's protocol and misbehaves as no real etcd can be made to.

use super::connection;
use Step::{Fail, Hang, Repeat, Send, SendBytes, Wait};
use etcd_client::proto::{
    PbAlarmRequest, PbAlarmResponse, PbDefragmentRequest, PbDefragmentResponse, PbDowngradeRequest,
    PbDowngradeResponse, PbHashKvRequest, PbHashKvResponse, PbHashRequest, PbHashResponse,
    PbMaintenanceServer, PbMaintenanceService, PbMoveLeaderRequest, PbMoveLeaderResponse, PbResponseHeader,
    PbSnapshotRequest, PbSnapshotResponse, PbStatusRequest, PbStatusResponse,
};
use etcd_seal::low_level::etcd::Connection;
use http_body::{Body, Frame};
use std::convert::Infallible;
use std::future::pending;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::StreamExt;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::{BoxFuture, Bytes, Service, StdError, http};
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

/// Bytes of a message of etcd's snapshot stream.
const BLOB_SIZE: usize = 32 * 1024;

/// What a fake member does when asked for a snapshot.
#[derive(Clone)]
pub enum Step {
    /// One message: `remaining_bytes` and the length of its blob.
    Send(u64, usize),
    /// One message: `remaining_bytes` and its blob.
    SendBytes(u64, Vec<u8>),
    /// The same message, again and again.
    Repeat(u64, usize),
    /// So much time in which it sends nothing.
    Wait(Duration),
    /// Nothing any more, and no end.
    Hang,
    /// An error instead of an end.
    Fail(Code, &'static str),
}

/// What comes after the last message of a snapshot stream, where there is no error.
#[derive(Clone, Default)]
pub enum Ending {
    /// The status of success.
    #[default]
    Clean,
    /// These bytes, which ought to be messages with the head that gRPC gives them, and then that.
    Bytes(Bytes),
    /// The reset of this one stream.
    Reset,
    /// No status: HTTP/2 says that it is over, and gRPC does not.
    WithoutStatus,
    /// Death of the member, which resets its connections.
    Death,
}

/// A member of etcd that follows a script. Its own runtime dies with it, connections and all.
pub struct Fake {
    /// Where it listens.
    pub address: SocketAddr,
    runtime: Arc<Mutex<Option<Runtime>>>,
}

/// How the fake answers.
#[derive(Clone, Default)]
pub struct Script {
    /// What it says of itself.
    pub status: PbStatusResponse,
    /// What it says of itself when it is asked again after a snapshot, where that is something else.
    pub status_after: Option<PbStatusResponse>,
    /// Whether a snapshot was requested since it was last asked.
    pub snapshot_requested: Arc<AtomicBool>,
    /// It never answers when asked for that.
    pub silent_at_status: bool,
    /// It never answers when asked for a snapshot.
    pub silent_at_snapshot: bool,
    /// The storage version in its messages.
    pub version: &'static str,
    /// What it does when asked for a snapshot.
    pub steps: Vec<Step>,
    /// What comes after that.
    pub ending: Ending,
}

impl Script {
    /// A healthy member that takes these steps.
    pub fn of(steps: &[Step]) -> Self {
        let header = PbResponseHeader { cluster_id: 1, member_id: 2, revision: 3, raft_term: 4 };
        // Another member leads.
        let (version, leader) = ("3.5.0".to_owned(), 7);
        let status = PbStatusResponse { header: Some(header), version, leader, ..Default::default() };
        Self { status, steps: steps.to_vec(), ..Self::default() }
    }

    /// A member that sends `bytes` as etcd does, saying how much is left of `announced` after each message, and then
    /// takes `more` steps.
    pub fn sending(bytes: &[u8], announced: usize, more: &[Step]) -> Self {
        let mut left = announced as u64;
        let mut steps = Vec::new();
        for blob in bytes.chunks(BLOB_SIZE) {
            left = left.saturating_sub(blob.len() as u64);
            steps.push(SendBytes(left, blob.to_vec()));
        }
        steps.extend_from_slice(more);
        Self::of(&steps)
    }
}

impl Fake {
    /// Starts it.
    pub fn start(script: Script) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let dies = matches!(script.ending, Ending::Death);
        let (death, dying) = channel();
        runtime.spawn(async move {
            let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener).unwrap());
            let incoming = incoming.map(move |connection| {
                if let (true, Ok(connection)) = (dies, &connection) {
                    connection.set_zero_linger().unwrap();
                }
                connection
            });
            let (ending, service) = (script.ending.clone(), PbMaintenanceServer::new(script));
            let service = Ended { service, ending, death };
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await
        });
        let runtime = Arc::new(Mutex::new(Some(runtime)));
        let dead = Arc::clone(&runtime);
        std::thread::spawn(move || dying.recv().is_ok().then(|| shut_down(&dead)));
        Self { address, runtime }
    }

    /// How to reach it.
    pub fn connection(&self) -> Connection {
        connection(&[self.address.to_string()])
    }

    /// Kills it.
    pub fn die(&mut self) {
        shut_down(&self.runtime);
    }
}

fn shut_down(runtime: &Mutex<Option<Runtime>>) {
    if let Some(runtime) = runtime.lock().unwrap().take() {
        runtime.shutdown_background();
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
        let after =
            self.status_after.as_ref().filter(|_| self.snapshot_requested.swap(false, Ordering::SeqCst));
        Ok(Response::new(after.unwrap_or(&self.status).clone()))
    }

    async fn snapshot(
        &self,
        _: Request<PbSnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        self.snapshot_requested.store(true, Ordering::SeqCst);
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
    let carrying = |remaining_bytes, blob| PbSnapshotResponse {
        remaining_bytes,
        blob,
        version: script.version.to_owned(),
        header: None,
    };
    let message = |remaining_bytes, length| carrying(remaining_bytes, vec![7; length]);
    for step in script.steps.clone() {
        match step {
            Send(remaining, length) => sender.send(Ok(message(remaining, length))).await.ok()?,
            SendBytes(remaining, blob) => sender.send(Ok(carrying(remaining, blob))).await.ok()?,
            Repeat(remaining, length) => loop {
                sender.send(Ok(message(remaining, length))).await.ok()?;
            },
            Wait(time) => tokio::time::sleep(time).await,
            Hang => sender.closed().await,
            Fail(code, text) => sender.send(Err(Status::new(code, text))).await.ok()?,
        }
    }
    Some(())
}

/// The service, but its snapshot streams end in another way.
#[derive(Clone)]
struct Ended {
    service: PbMaintenanceServer<Script>,
    ending: Ending,
    death: Sender<()>,
}

impl NamedService for Ended {
    const NAME: &'static str = PbMaintenanceServer::<Script>::NAME;
}

impl Service<http::Request<tonic::body::Body>> for Ended {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let is_snapshot = request.uri().path().ends_with("/Snapshot");
        let answering = self.service.call(request);
        let (ending, death) = (self.ending.clone(), self.death.clone());
        Box::pin(async move {
            let answer = answering.await?;
            if !is_snapshot || matches!(ending, Ending::Clean) {
                return Ok(answer);
            }
            Ok(answer.map(|body| tonic::body::Body::new(EndedBody { body, ending, death, trailers: None })))
        })
    }
}

struct EndedBody {
    body: tonic::body::Body,
    ending: Ending,
    death: Sender<()>,
    /// What the body would have ended with.
    trailers: Option<Frame<Bytes>>,
}

impl Body for EndedBody {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(trailers)));
        }
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)).transpose()? else {
            return Poll::Ready(None);
        };
        if !frame.is_trailers() {
            return Poll::Ready(Some(Ok(frame)));
        }
        Poll::Ready(match std::mem::take(&mut self.ending) {
            Ending::Clean => Some(Ok(frame)),
            Ending::Bytes(bytes) => {
                self.trailers = Some(frame);
                Some(Ok(Frame::data(bytes)))
            }
            // Whatever the error is, hyper resets the stream.
            Ending::Reset => Some(Err("reset".into())),
            Ending::WithoutStatus => None,
            Ending::Death => {
                let _ = self.death.send(());
                return Poll::Pending;
            }
        })
    }
}
