//! One connection to a member, between the socket and TLS or HTTP/2.
//!
//! TLS and HTTP/2 read 4 or 8 KiB at a time; a [`Link`] reads more at once from the socket and hands it out in their pieces.
//! It reads only while its [`FlowControl`] is open, and no faster than its [`RateLimit`].

use super::flow_control::FlowControl;
use super::rate_limit::RateLimit;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes of one read from the socket.
const READ_SIZE: usize = 128 * 1024;

/// What the connections to one member share.
#[derive(Clone)]
pub(super) struct Terms {
    /// The gate that bounds how much piles up.
    pub(super) flow_control: FlowControl,
    /// The rate limit, if there is one.
    pub(super) rate_limit: Option<Arc<RateLimit>>,
    /// The silence after which HTTP/2 sends a ping.
    pub(super) keepalive_time: Duration,
    /// How long HTTP/2 waits for the answer to a ping.
    pub(super) keepalive_timeout: Duration,
}

/// A socket that is read under [`Terms`].
pub(super) struct Link<S> {
    socket: S,
    terms: Terms,
    buffer: Box<[u8]>,
    /// The part of the buffer that has not been handed out.
    unread: Range<usize>,
    /// A timer that ends when the answer to a ping may be due.
    until_ping: Option<Pin<Box<Sleep>>>,
    /// A timer that ends when the pace allows to read.
    hold: Option<Pin<Box<Sleep>>>,
    /// Until when the gate does not count, so that the answer to a ping passes.
    answer_until: Option<Instant>,
}

impl<S> Link<S> {
    /// Reads `socket` under `terms`.
    pub(super) fn new(socket: S, terms: Terms) -> Self {
        let size =
            terms.rate_limit.as_ref().map_or(READ_SIZE, |rate_limit| rate_limit.piece().min(READ_SIZE));
        Self {
            socket,
            terms,
            buffer: vec![0; size].into_boxed_slice(),
            unread: 0..0,
            until_ping: None,
            hold: None,
            answer_until: None,
        }
    }

    /// Waits for the gate. The answer to a ping comes behind all bytes that wait before the gate, and without it HTTP/2
    /// takes the member for dead. So while an answer may be due, the gate does not count.
    fn poll_flow_control(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.terms.flow_control.poll(context).is_ready() {
                self.until_ping = None;
                return Poll::Ready(());
            }
            let now = Instant::now();
            if self.answer_until.is_some_and(|until| now < until) {
                return Poll::Ready(());
            }
            let ping = self.terms.flow_control.last_taken() + self.terms.keepalive_time;
            if now >= ping {
                self.answer_until = Some(now + self.terms.keepalive_timeout);
                return Poll::Ready(());
            }
            let timer = self.until_ping.get_or_insert_with(|| Box::pin(sleep_until(ping)));
            if timer.deadline() != ping {
                timer.as_mut().reset(ping);
            }
            ready!(timer.as_mut().poll(context));
        }
    }

    /// Waits for the pace, and reports to it how long the wait is.
    fn poll_rate_limit(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(rate_limit) = self.terms.rate_limit.as_deref() else { return Poll::Ready(()) };
        loop {
            if let Some(hold) = &mut self.hold {
                ready!(hold.as_mut().poll(context));
                // A late wake-up is not the member's fault either.
                rate_limit.holds(hold.deadline().elapsed());
                self.hold = None;
            }
            let now = Instant::now();
            let Some(not_before) = rate_limit.not_before(now) else { return Poll::Ready(()) };
            rate_limit.holds(not_before - now);
            self.hold = Some(Box::pin(sleep_until(not_before)));
        }
    }
}

impl<S: AsyncRead + Unpin> Link<S> {
    /// Fills the empty buffer, which stays empty at the end of the member's bytes.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flow_control(context));
        ready!(self.poll_rate_limit(context));
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(&mut self.socket).poll_read(context, &mut buffer))?;
        let length = buffer.filled().len();
        self.unread = 0..length;
        self.terms.flow_control.passed(length);
        if let Some(rate_limit) = &self.terms.rate_limit {
            rate_limit.spent(length, Instant::now());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Link<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let link = &mut *self;
        if link.unread.is_empty() {
            ready!(link.poll_fill(context))?;
        }
        let length = link.unread.len().min(buffer.remaining());
        buffer.put_slice(&link.buffer[link.unread.start..link.unread.start + length]);
        link.unread.start += length;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Link<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::super::flow_control::CLOSES_AT;
    use super::super::rate_limit::LOWEST_RATE;
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    const PATIENT: Duration = Duration::from_secs(10);

    fn terms(rate_limit: Option<RateLimit>) -> Terms {
        Terms {
            flow_control: FlowControl::open(),
            rate_limit: rate_limit.map(Arc::new),
            keepalive_time: PATIENT,
            keepalive_timeout: Duration::from_secs(1),
        }
    }

    /// A link under `terms` to a member that sends `bytes` bytes, and then nothing.
    fn sending(bytes: usize, terms: Terms) -> Link<DuplexStream> {
        let (here, mut there) = duplex(2 * READ_SIZE);
        tokio::spawn(async move {
            there.write_all(&vec![7; bytes]).await.unwrap();
            std::future::pending::<()>().await;
        });
        Link::new(here, terms)
    }

    /// Reads until no more bytes arrive for a moment.
    async fn read_on(link: &mut Link<DuplexStream>) -> usize {
        let mut piece = vec![0; 4096];
        let mut length = 0;
        while let Ok(read) = tokio::time::timeout(Duration::from_millis(100), link.read(&mut piece)).await {
            length += read.unwrap();
        }
        length
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_gate_holds_it_up_until_an_answer_may_be_due() {
        const MUCH: usize = 32 << 20;
        let terms = terms(None);
        let flow_control = terms.flow_control.clone();
        let mut link = sending(MUCH, terms);
        flow_control.guard();
        let before = read_on(&mut link).await;
        assert!((CLOSES_AT..CLOSES_AT + READ_SIZE).contains(&before), "{before}");
        flow_control.taken(before);
        let then = read_on(&mut link).await;
        assert!((CLOSES_AT..CLOSES_AT + READ_SIZE).contains(&then), "{then}");
        tokio::time::advance(PATIENT).await;
        assert_eq!(before + then + read_on(&mut link).await, MUCH);
    }

    #[tokio::test(start_paused = true)]
    async fn it_reads_at_the_pace_and_says_for_how_long_it_held_back() {
        for rate in [LOWEST_RATE, 1_000_000, 50_000_000] {
            let length = usize::try_from(5 * rate).unwrap();
            let terms = terms(Some(RateLimit::new(rate)));
            let rate_limit = terms.rate_limit.clone().unwrap();
            let mut link = sending(length, terms);
            let began = Instant::now();
            let mut bytes = vec![0; length];
            link.read_exact(&mut bytes).await.unwrap();
            let took = began.elapsed().as_secs_f64();
            assert!((4.85..5.05).contains(&took), "{rate}: {took}");
            let held = rate_limit.held().as_secs_f64();
            assert!((took - 0.1..took + 0.1).contains(&held), "{rate}: {held} of {took}");
            // Waiting for bytes that do not arrive is not holding back.
            let nothing = tokio::time::timeout(PATIENT, link.read(&mut [0])).await;
            assert!(nothing.is_err());
            assert!(rate_limit.held().as_secs_f64() < held + 0.1);
        }
    }
}
