//! tonic's client under test: runs the jobs that it gets on stdin.
use crate::greeter::greeter_client::GreeterClient;
use crate::workloads::{Gauge, idle, ping_pong, pipelined, push, unary};
use crate::{CONNECTION_WINDOW, Failure, STREAM_WINDOW, events};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};

/// The job of a client, as in bench/commands.ts.
struct Job {
    address: String,
    workload: String,
    streams: u64,
    window: usize,
    size: usize,
    connections: u64,
    warm: Duration,
    measured: Duration,
}

impl Job {
    fn from(job: &Value) -> Result<Job, Failure> {
        let number = |name: &str| job[name].as_u64().ok_or(format!("the job has no {name}"));
        let text = |name: &str| job[name].as_str().ok_or(format!("the job has no {name}"));
        Ok(Job {
            address: text("address")?.into(),
            workload: text("workload")?.into(),
            streams: number("streams")?,
            window: number("window")? as usize,
            size: number("size")? as usize,
            connections: number("connections")?,
            warm: Duration::from_millis(number("warmMs")?),
            measured: Duration::from_millis(number("measureMs")?),
        })
    }
}

pub async fn run() -> Result<(), Failure> {
    let mut commands = events::commands();
    events::emit(json!({ "event": "ready" }));
    while let Some(command) = commands.recv().await {
        if command["gc"] == true {
            events::emit_collected();
        } else if !command["job"].is_null() {
            let done = match Job::from(&command["job"]) {
                Ok(job) if job.workload == "idle" => hold_idle(&job, &mut commands).await,
                Ok(job) => load(&job).await,
                Err(error) => Err(error),
            };
            events::emit(done.unwrap_or_else(
                |error| json!({ "event": "failed", "error": format!("{error:?}") }),
            ));
        }
    }
    Ok(())
}

async fn connect(address: &str) -> Result<GreeterClient<Channel>, Failure> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    Ok(GreeterClient::new(endpoint.connect().await?))
}

async fn load(job: &Job) -> Result<Value, Failure> {
    // A call that hangs ends the job after a time limit, so that the run continues.
    let limit = job.warm + job.measured + Duration::from_secs(20);
    timeout(limit, measure(job)).await?
}

async fn measure(job: &Job) -> Result<Value, Failure> {
    let client = connect(&job.address).await?;
    let gauge = Arc::new(Gauge::default());
    let content = "x".repeat(job.size);
    let mut loops = JoinSet::new();
    for _ in 0..job.streams {
        let (client, gauge, content) = (client.clone(), gauge.clone(), content.clone());
        match job.workload.as_str() {
            "ping-pong" => loops.spawn(ping_pong(client, content, gauge)),
            "pipelined" => loops.spawn(pipelined(client, content, job.window, gauge)),
            "push" => loops.spawn(push(client, job.size, gauge)),
            "unary" => loops.spawn(unary(client, content, gauge)),
            other => return Err(format!("unknown workload {other:?}").into()),
        };
    }
    sleep(job.warm).await;
    events::emit(json!({ "event": "start" }));
    gauge.set_measuring(true);
    let (before, started) = (gauge.messages(), Instant::now());
    sleep(job.measured).await;
    let messages = gauge.messages() - before;
    let ms = started.elapsed().as_secs_f64() * 1e3;
    gauge.set_measuring(false);
    events::emit(json!({ "event": "end" }));
    gauge.stop();
    let mut latencies: Vec<f64> = Vec::new();
    while let Some(finished) = loops.join_next().await {
        latencies.extend(finished??);
    }
    latencies.sort_by(f64::total_cmp);
    let quantile = |q: f64| {
        latencies
            .get((latencies.len() as f64 * q) as usize)
            .unwrap_or(&0.0)
    };
    Ok(json!({
        "event": "done", "messages": messages, "ms": ms,
        "p50Us": quantile(0.5), "p99Us": quantile(0.99),
    }))
}

/// Opens streams over several connections, and keeps them open until the command "release".
async fn hold_idle(job: &Job, commands: &mut UnboundedReceiver<Value>) -> Result<Value, Failure> {
    let content = "x".repeat(job.size);
    let mut held = Vec::new();
    for _ in 0..job.connections {
        let client = connect(&job.address).await?;
        for _ in 0..job.streams / job.connections {
            held.push(idle(client.clone(), content.clone()).await?);
        }
    }
    events::emit(json!({ "event": "idle" }));
    while let Some(command) = commands.recv().await {
        if command["gc"] == true {
            events::emit_collected();
        } else if command["release"] == true {
            break;
        }
    }
    Ok(json!({ "event": "done" }))
}
