//! The way between two programs: a proxy of bytes that delays, holds back and cuts.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::watch,
};

/// The most bytes that are passed on at a time.
const PIECE: usize = 16 * 1024;

/// The state of a way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Everything passes.
    #[default]
    Open,
    /// Each piece passes so much later, in both directions.
    Slow(Duration),
    /// Nothing passes; what was sent comes once the way is open again, as on a network that repeats it.
    Silent,
    /// Questions pass, and no answers.
    Deaf,
    /// Connections break, and there are no new ones.
    Cut,
}

/// The program at the other end.
#[derive(Clone, Debug)]
pub enum Target {
    /// A port of this machine.
    Port(SocketAddr),
    /// A socket.
    Socket(PathBuf),
}

/// A way to a program.
pub struct Link {
    state: watch::Sender<State>,
    target: watch::Sender<Target>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Target {
    /// The socket of a database's server, by its URL.
    ///
    /// # Panics
    /// If the URL names no folder.
    pub fn of_database(url: &str) -> Self {
        let (_, folder) = url.split_once("host=").expect("a folder");
        Self::Socket(Path::new(folder.split('&').next().unwrap_or_default()).join(".s.PGSQL.5432"))
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Port(address) => Box::new(TcpStream::connect(address).await?),
            Self::Socket(path) => Box::new(UnixStream::connect(path).await?),
        })
    }
}

impl Link {
    /// Opens a way from a socket, which must not be there yet.
    ///
    /// # Panics
    /// If the socket cannot be made.
    pub fn from_socket(socket: &Path, target: Target) -> Arc<Self> {
        let listener = UnixListener::bind(socket).expect("a socket");
        let link = Self::to(target);
        let accepts = Arc::clone(&link);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepts.pass(stream);
            }
        });
        link
    }

    /// Opens a way from a port, which is returned as well.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn from_port(target: Target) -> (Arc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let link = Self::to(target);
        let accepts = Arc::clone(&link);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepts.pass(stream);
            }
        });
        (link, address)
    }

    fn to(target: Target) -> Arc<Self> {
        Arc::new(Self { state: watch::Sender::default(), target: watch::Sender::new(target) })
    }

    /// Changes the state, for the connections that there are as well.
    pub fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    /// Leads to another program from now on; connections to the last one break.
    pub fn lead_to(&self, target: Target) {
        self.target.send_replace(target);
    }

    /// Passes a connection on until an end closes it, or the way breaks.
    fn pass(&self, near: impl Stream + 'static) {
        let (mut state, mut target) = (self.state.subscribe(), self.target.subscribe());
        let to = target.borrow_and_update().clone();
        tokio::spawn(async move {
            let is_cut = *state.borrow() == State::Cut;
            if is_cut {
                return;
            }
            let Ok(far) = to.connect().await else { return };
            let (near_reads, near_writes) = tokio::io::split(near);
            let (far_reads, far_writes) = tokio::io::split(far);
            let there = carry(near_reads, far_writes, state.clone(), |state| state == State::Silent);
            let back =
                carry(far_reads, near_writes, state.clone(), |state| matches!(state, State::Silent | State::Deaf));
            tokio::select! {
                _ = there => {}
                _ = back => {}
                _ = state.wait_for(|state| *state == State::Cut) => {}
                _ = target.changed() => {}
            }
        });
    }
}

/// Carries bytes in one direction, while the state does not hold them back.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
    holds_back: fn(State) -> bool,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        let now = *state.borrow();
        if let State::Slow(delay) = now {
            tokio::time::sleep(delay).await;
        }
        // It fails once the way is gone, and with it everything that it carries.
        let passes = state.wait_for(|state| !holds_back(*state)).await.is_ok();
        if length == 0 || !passes {
            return to.shutdown().await;
        }
        to.write_all(piece.get(..length).unwrap_or_default()).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A way to a program that says everything back.
    async fn way() -> (Arc<Link>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let target = Target::Port(listener.local_addr().expect("bound"));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reads, mut writes) = stream.split();
                    tokio::io::copy(&mut reads, &mut writes).await
                });
            }
        });
        Link::from_port(target).await
    }

    async fn echo(stream: &mut TcpStream) -> Option<u8> {
        stream.write_all(b"x").await.ok()?;
        let mut answer = [0];
        tokio::time::timeout(Duration::from_millis(200), stream.read_exact(&mut answer)).await.ok()?.ok()?;
        Some(answer[0])
    }

    #[tokio::test]
    async fn a_way_is_open_holds_back_and_breaks() {
        let (link, address) = way().await;
        let mut stream = TcpStream::connect(address).await.expect("connected");
        assert_eq!(echo(&mut stream).await, Some(b'x'));
        for state in [State::Silent, State::Deaf] {
            link.set(state);
            assert_eq!(echo(&mut stream).await, None, "{state:?}");
            link.set(State::Open);
            let mut late = [0];
            stream.read_exact(&mut late).await.expect("what was held back comes");
        }
        link.set(State::Slow(Duration::from_millis(20)));
        assert_eq!(echo(&mut stream).await, Some(b'x'));
        link.set(State::Cut);
        assert_eq!(echo(&mut stream).await, None);
        let mut other = TcpStream::connect(address).await.expect("the port is there");
        assert_eq!(echo(&mut other).await, None, "and leads nowhere");
        link.set(State::Open);
        let mut stream = TcpStream::connect(address).await.expect("connected");
        assert_eq!(echo(&mut stream).await, Some(b'x'));
        let (_, elsewhere) = way().await;
        link.lead_to(Target::Port(elsewhere));
        assert_eq!(echo(&mut stream).await, None, "connections to the last target break");
    }
}
