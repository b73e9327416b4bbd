//! tonic in the benchmark, one program with two roles:
//!
//! ```text
//! server   tonic's server under test
//! client   tonic's client under test
//! ```
//!
//! Both run on a current-thread runtime, with TCP_NODELAY, and with windows of 1 MiB a stream and 8 MiB a connection.
//! They read and write JSON lines on stdin and stdout, as every program under bench/ does (see bench/commands.ts), and
//! end when stdin ends.
mod client;
mod events;
mod server;
mod workloads;

pub mod greeter {
    tonic::include_proto!("example");
}

/// The windows of HTTP/2 that both roles announce, in bytes.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// The header in which a client of Subscribe says how many bytes of content it wants.
const SIZE_HEADER: &str = "bench-size";

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    match std::env::args().nth(1).as_deref() {
        Some("server") => server::serve().await,
        Some("client") => client::run().await,
        _ => Err("usage: peer server|client".into()),
    }
}
