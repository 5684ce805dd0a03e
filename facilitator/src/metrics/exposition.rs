//! The answer of `GET /metrics`.

use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use super::{
    exact,
    names::{CATALOGUE, Kind},
};

/// The metrics of this process, as text.
#[derive(Clone, Debug)]
pub struct Exposition {
    recorder: PrometheusHandle,
    process: Collector,
}

/// Records the metrics of this process from now on.
///
/// # Errors
/// They are recorded already.
pub fn install() -> Result<Exposition, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for (name, kind, _) in CATALOGUE {
        if let Kind::Histogram(bounds) = kind {
            builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), bounds)?;
        }
    }
    let recorder = builder.install_recorder()?;
    for (name, kind, help) in CATALOGUE {
        match kind {
            Kind::Counter => describe_counter!(*name, *help),
            Kind::Gauge => describe_gauge!(*name, *help),
            Kind::Histogram(_) => describe_histogram!(*name, *help),
        }
    }
    let process = Collector::default();
    process.describe();
    Ok(Exposition { recorder, process })
}

impl Exposition {
    /// The media type of the text.
    pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// All metrics in the text format of Prometheus.
    pub fn render(&self) -> String {
        self.process.collect();
        super::log_lines_dropped(crate::logging::dropped());
        let mut text = self.recorder.render();
        exact::render(&mut text);
        text
    }

    /// Folds samples into histograms: without it they pile up in memory for as
    /// long as nobody reads the metrics.
    pub fn fold(&self) {
        self.recorder.run_upkeep();
    }
}
