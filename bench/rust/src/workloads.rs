//! The loops of one stream, which run until the gauge is stopped. Each returns the latencies that it measured, in µs.
use crate::greeter::greeter_client::GreeterClient;
use crate::greeter::{MessageRequest, MessageResponse, SubscribeRequest};
use crate::{Failure, SIZE_HEADER};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Streaming};

type Client = GreeterClient<Channel>;
type Latencies = Result<Vec<f64>, Failure>;

/// Counts the replies of all streams, and stops their loops.
#[derive(Default)]
pub struct Gauge {
    messages: AtomicU64,
    measuring: AtomicBool,
    stopped: AtomicBool,
}

impl Gauge {
    pub fn messages(&self) -> u64 {
        self.messages.load(Relaxed)
    }

    pub fn set_measuring(&self, measuring: bool) {
        self.measuring.store(measuring, Relaxed);
    }

    pub fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    fn running(&self) -> bool {
        !self.stopped.load(Relaxed)
    }

    fn reply(&self) {
        self.messages.fetch_add(1, Relaxed);
    }

    /// Counts a reply and its latency. Returns the current time, at which the next round trip begins.
    fn round_trip(&self, since: Instant, latencies: &mut Vec<f64>) -> Instant {
        let now = Instant::now();
        self.reply();
        if self.measuring.load(Relaxed) {
            latencies.push((now - since).as_secs_f64() * 1e6);
        }
        now
    }
}

/// A bidirectional call whose requests are all the same.
struct Chat {
    request: MessageRequest,
    requests: Option<mpsc::Sender<MessageRequest>>,
    replies: Streaming<MessageResponse>,
}

impl Chat {
    /// Opens a call, and sends `window` requests.
    async fn open(mut client: Client, content: String, window: usize) -> Result<Chat, Failure> {
        let request = MessageRequest { content };
        let (sender, receiver) = mpsc::channel(window);
        for _ in 0..window {
            sender.send(request.clone()).await?;
        }
        let replies = client
            .chat(ReceiverStream::new(receiver))
            .await?
            .into_inner();
        Ok(Chat {
            request,
            requests: Some(sender),
            replies,
        })
    }

    async fn send(&self) -> Result<(), Failure> {
        if let Some(requests) = &self.requests {
            requests.send(self.request.clone()).await?;
        }
        Ok(())
    }

    fn close_send(&mut self) {
        self.requests = None;
    }
}

pub async fn ping_pong(client: Client, content: String, gauge: Arc<Gauge>) -> Latencies {
    let mut latencies = Vec::new();
    let mut since = Instant::now();
    let mut chat = Chat::open(client, content, 1).await?;
    while chat.replies.message().await?.is_some() {
        since = gauge.round_trip(since, &mut latencies);
        if gauge.running() {
            chat.send().await?;
        } else {
            chat.close_send();
        }
    }
    Ok(latencies)
}

/// Keeps `window` messages in flight.
pub async fn pipelined(
    client: Client,
    content: String,
    window: usize,
    gauge: Arc<Gauge>,
) -> Latencies {
    let mut chat = Chat::open(client, content, window).await?;
    while chat.replies.message().await?.is_some() {
        gauge.reply();
        if gauge.running() {
            chat.send().await?;
        } else {
            chat.close_send();
        }
    }
    Ok(Vec::new())
}

pub async fn push(mut client: Client, size: usize, gauge: Arc<Gauge>) -> Latencies {
    let mut request = Request::new(SubscribeRequest::default());
    request
        .metadata_mut()
        .insert(SIZE_HEADER, size.to_string().parse()?);
    let mut notifications = client.subscribe(request).await?.into_inner();
    // Leaving the loop drops the call, which cancels it.
    while gauge.running() {
        if notifications.message().await?.is_none() {
            return Err("the server ended the push".into());
        }
        gauge.reply();
    }
    Ok(Vec::new())
}

pub async fn unary(mut client: Client, content: String, gauge: Arc<Gauge>) -> Latencies {
    let mut latencies = Vec::new();
    let mut since = Instant::now();
    while gauge.running() {
        client
            .say_hello(MessageRequest {
                content: content.clone(),
            })
            .await?;
        since = gauge.round_trip(since, &mut latencies);
    }
    Ok(latencies)
}

/// A stream on which one message was exchanged, and which stays open until it is dropped.
pub struct IdleStream {
    _chat: Chat,
}

pub async fn idle(client: Client, content: String) -> Result<IdleStream, Failure> {
    let mut chat = Chat::open(client, content, 1).await?;
    chat.replies.message().await?;
    Ok(IdleStream { _chat: chat })
}
