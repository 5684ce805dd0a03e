//! The log. [`reminders`]: what lasts is said again.
//!
//! Lines go to standard error through a thread of their own.
//!
//! Whoever logs never waits and never fails: a line for which there is no room
//! is dropped and counted, and so is one that cannot be written. The writer of
//! `tracing-appender` does not do: at its end it prints to the very stream
//! that may be blocked.

pub mod reminders;

use std::{
    io::{self, Write},
    panic::PanicHookInfo,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// Lines that wait to be written, at most.
const LINES_MAX: usize = 8192;

/// Bytes that wait to be written, at most.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// The time for which the end of the service waits for the last lines to be written.
const FLUSH_WAIT: Duration = Duration::from_secs(1);

/// Lines that were lost.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Returns the number of lines that were lost so far.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// One thing for the thread to do.
enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// The log's near end.
#[derive(Clone, Debug)]
pub struct Log {
    queue: SyncSender<Message>,
    bytes: Arc<AtomicUsize>,
}

/// Sends what the process logs to standard error from now on, panics too.
///
/// # Errors
/// The filter cannot be read, the thread cannot be started, or there is a log already.
pub fn to_stderr(filter: &str, json: bool) -> anyhow::Result<Log> {
    let filter: EnvFilter = filter.parse()?;
    let log = Log::start(io::stderr())?;
    let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone()).log_internal_errors(false);
    // The fields stand beside time, level and message, where log databases look for them.
    let set = if json { logger.json().flatten_event(true).try_init() } else { logger.with_ansi(false).try_init() };
    set.map_err(|error| anyhow::anyhow!("the log cannot be set up: {error}"))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(log)
}

/// The standard hook would wait for standard error.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("no message");
    tracing::error!(place, message, "a panic: this is a bug of the service, please report it");
}

impl Log {
    fn start(target: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, lines) = mpsc::sync_channel(LINES_MAX);
        let bytes = Arc::new(AtomicUsize::new(0));
        let waiting = Arc::clone(&bytes);
        thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&lines, &waiting, target))?;
        Ok(Self { queue, bytes })
    }

    fn put(&self, line: Vec<u8>) {
        let length = line.len();
        let fits = self.bytes.fetch_add(length, Ordering::Relaxed).saturating_add(length) <= BYTES_MAX;
        if !fits || self.queue.try_send(Message::Line(line)).is_err() {
            self.bytes.fetch_sub(length, Ordering::Relaxed);
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits, for a moment at most, until everything is written.
    pub fn flush(&self) {
        let (done, written) = mpsc::sync_channel(1);
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            let _: Result<(), _> = written.recv_timeout(FLUSH_WAIT);
        }
    }
}

fn write_all(lines: &Receiver<Message>, waiting: &AtomicUsize, mut target: impl Write) {
    for message in lines {
        match message {
            Message::Line(line) => {
                if target.write_all(&line).is_err() {
                    DROPPED.fetch_add(1, Ordering::Relaxed);
                }
                waiting.fetch_sub(line.len(), Ordering::Relaxed);
            }
            Message::Flush(done) => {
                let _: Result<(), _> = done.try_send(());
            }
        }
    }
}

/// One line, handed over when it is complete.
#[derive(Debug)]
pub struct Line {
    log: Log,
    text: Vec<u8>,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            self.log.put(std::mem::take(&mut self.text));
        }
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line { log: self.clone(), text: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes nothing until it is told to.
    struct Stuck(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _: Result<(), _> = self.0.recv();
            self.1.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_logs_never_waits_and_what_is_lost_is_counted() {
        let ((free, held), (told, written)) = (mpsc::channel(), mpsc::channel());
        let log = Log::start(Stuck(held, told)).expect("a thread");
        let before = dropped();
        let line = vec![b'x'; 1024];
        for _ in 0..LINES_MAX {
            log.make_writer().write_all(&line).expect("never fails");
        }
        let lost = dropped() - before;
        assert!(lost > 0, "more bytes than may wait");
        drop(free);
        log.flush();
        let kept = u64::try_from(written.try_iter().count()).expect("a number");
        assert_eq!(kept + lost, u64::try_from(LINES_MAX).expect("a number"));
    }
}
