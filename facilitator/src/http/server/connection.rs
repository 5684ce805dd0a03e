//! One connection: its requests, and the time that its caller takes.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderValue, Request, Response, header},
};
use futures::future::BoxFuture;
use hyper::{
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::Service,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    LINGER,
    places::{Phase, Place, Waits},
};

/// The largest head: twice what common proxies let pass.
const HEAD_MAX: usize = 16 * 1024;

/// The most fields in a head.
const FIELDS_MAX: usize = 64;

/// The time that callers have once the service stops.
const STOPPING: Waits = Waits { head: Duration::from_secs(1), answer: Duration::from_secs(2), idle: LINGER };

/// Longer than any phase: for those without a limit of their own.
const NEVER: Duration = Duration::from_hours(24 * 365);

/// Serves a connection until it ends, its caller takes too long, or it has to give way.
pub(super) async fn drive(stream: TcpStream, router: Router, place: Place, waits: Waits, drain: CancellationToken) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let place = Arc::new(place);
    let evicted = place.evicted();
    let io = TokioIo::new(Watched { stream, place: Arc::clone(&place) });
    let service = Served { router: TowerToHyperService::new(router), place: Arc::clone(&place), drain: drain.clone() };
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(None).max_headers(FIELDS_MAX).max_buf_size(HEAD_MAX);
    let mut connection = pin!(builder.serve_connection(io, service));
    let timely = async |connection: Pin<&mut _>, waits, not_before| timely(connection, &place, waits, not_before).await;
    let before = Instant::now();
    let ended = tokio::select! {
        ended = timely(connection.as_mut(), waits, before) => Some(ended),
        () = evicted.cancelled() => return,
        () = drain.cancelled() => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        tokio::select! {
            ended = timely(connection.as_mut(), STOPPING, Instant::now()) => ended,
            () = evicted.cancelled() => return,
        }
    };
    if let Some(why) = ended.why() {
        crate::metrics::connection_dropped(why);
    }
}

/// The end of a connection.
enum Ended {
    /// By itself.
    Closed(hyper::Result<()>),
    /// Its caller took too long in this phase.
    Late(Phase),
}

impl Ended {
    /// The label under which it is counted; `None` for an end that harms nobody.
    fn why(&self) -> Option<&'static str> {
        match self {
            Self::Closed(Err(error)) if error.is_parse_too_large() => Some("large_head"),
            Self::Closed(Err(error)) if error.is_parse() => Some("malformed"),
            Self::Closed(_) | Self::Late(Phase::Idle) => None,
            Self::Late(Phase::Answering) => Some("slow_reader"),
            Self::Late(_) => Some("slow_head"),
        }
    }
}

/// Polls a connection as long as its caller is in time. Phases that began
/// before `not_before` count from there.
async fn timely<C>(mut connection: Pin<&mut C>, place: &Place, waits: Waits, not_before: Instant) -> Ended
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut sleep = pin!(tokio::time::sleep(NEVER));
    poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(Ended::Closed(ended));
        }
        let Some((phase, since)) = place.phase() else { return Poll::Pending };
        let deadline = since.max(not_before) + waits.of(phase).unwrap_or(NEVER);
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx).map(|()| Ended::Late(phase))
    })
    .await
}

/// A stream that tells when a head begins to arrive and when an answer is out.
struct Watched {
    stream: TcpStream,
    place: Arc<Place>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.place.received();
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.place.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

/// The router, with the connection's place beside each request.
struct Served {
    router: TowerToHyperService<Router>,
    place: Arc<Place>,
    drain: CancellationToken,
}

impl Service<Request<Incoming>> for Served {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.place.enter(Phase::Working);
        request.extensions_mut().insert(Arc::clone(&self.place));
        let answered = self.router.call(request);
        let (place, drain) = (Arc::clone(&self.place), self.drain.clone());
        Box::pin(async move {
            let mut response = answered.await?;
            if drain.is_cancelled() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            place.enter(Phase::Answering);
            Ok(response.map(|body| Answer { body, place }))
        })
    }
}

/// The body of an answer, which tells when it has been written out.
struct Answer {
    body: Body,
    place: Arc<Place>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.place.answered();
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
