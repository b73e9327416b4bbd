//! The classic Greeter on tonic, with the switch x-fail. Prints "listening ADDRESS".
use std::{pin::Pin, time::Duration};

use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming, codec::CompressionEncoding};
use transcript::{greeter_server::*, *};

struct TheGreeter;

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Greeter for TheGreeter {
    async fn say_hello(
        &self,
        request: Request<MessageRequest>,
    ) -> Result<Response<MessageResponse>, Status> {
        if let Some(code) = request.metadata().get("x-fail") {
            let code = code.to_str().unwrap_or("2").parse().unwrap_or(2);
            return Err(Status::new(Code::from_i32(code), "failed as asked: 100% ünïcode ☂"));
        }
        let reply = format!("Hello, {}", request.into_inner().content);
        Ok(Response::new(MessageResponse { reply }))
    }

    type ChatStream = Responses<MessageResponse>;

    async fn chat(
        &self,
        request: Request<Streaming<MessageRequest>>,
    ) -> Result<Response<Self::ChatStream>, Status> {
        let replies = request.into_inner().map(|received| {
            received.map(|MessageRequest { content }| MessageResponse {
                reply: format!("Received: {content}"),
            })
        });
        Ok(Response::new(Box::pin(replies)))
    }

    async fn collect(
        &self,
        request: Request<Streaming<MessageRequest>>,
    ) -> Result<Response<CollectResponse>, Status> {
        let mut total = CollectResponse::default();
        let mut requests = request.into_inner();
        while let Some(MessageRequest { content }) = requests.message().await? {
            total.count += 1;
            total.bytes += content.len() as u64;
        }
        Ok(Response::new(total))
    }

    type SubscribeStream = Responses<Notification>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let SubscribeRequest { count, interval } = request.into_inner();
        let pause = interval.map_or(0, |interval| interval.nanos as u64);
        let last = if count == 0 { u64::MAX } else { count as u64 };
        let notifications = tokio_stream::iter(1..=last).then(move |sequence| async move {
            tokio::time::sleep(Duration::from_nanos(pause)).await;
            Ok(Notification { sequence, content: "notification".into(), time: None })
        });
        Ok(Response::new(Box::pin(notifications)))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening {}", listener.local_addr()?);
    let greeter = GreeterServer::new(TheGreeter)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_millis(10)))
        .add_service(greeter)
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}
