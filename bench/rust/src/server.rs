//! tonic's server under test. Its handlers answer as those of the other servers do.
use crate::greeter::greeter_server::{Greeter, GreeterServer};
use crate::greeter::{
    CollectResponse, MessageRequest, MessageResponse, Notification, SubscribeRequest,
};
use crate::{CONNECTION_WINDOW, Failure, SIZE_HEADER, STREAM_WINDOW, events};
use serde_json::json;
use std::pin::Pin;
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

struct Handlers;

type Messages<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

#[tonic::async_trait]
impl Greeter for Handlers {
    async fn say_hello(
        &self,
        request: Request<MessageRequest>,
    ) -> Result<Response<MessageResponse>, Status> {
        let reply = format!("Hello, {}", request.into_inner().content);
        Ok(Response::new(MessageResponse { reply }))
    }

    type ChatStream = Messages<MessageResponse>;

    async fn chat(
        &self,
        request: Request<Streaming<MessageRequest>>,
    ) -> Result<Response<Self::ChatStream>, Status> {
        let replies = request.into_inner().map(|request| {
            request.map(|MessageRequest { content }| MessageResponse {
                reply: format!("Received: {content}"),
            })
        });
        Ok(Response::new(Box::pin(replies)))
    }

    async fn collect(
        &self,
        _request: Request<Streaming<MessageRequest>>,
    ) -> Result<Response<CollectResponse>, Status> {
        Err(Status::unimplemented("the benchmark does not call Collect"))
    }

    type SubscribeStream = Messages<Notification>;

    /// Sends content with the number of bytes in the header bench-size, as fast as possible, until the call is cancelled.
    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let size = request
            .metadata()
            .get(SIZE_HEADER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .ok_or_else(|| Status::invalid_argument(format!("{SIZE_HEADER} is not a number")))?;
        let content = "x".repeat(size);
        let notifications = std::iter::repeat_with(move || {
            let content = content.clone();
            Ok(Notification {
                content,
                ..Default::default()
            })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(notifications))))
    }
}

pub async fn serve() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let mut commands = events::commands();
    tokio::spawn(async move {
        while let Some(command) = commands.recv().await {
            if command["gc"] == true {
                events::emit_collected();
            }
        }
    });
    events::emit(json!({ "event": "ready", "address": address }));
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_service(GreeterServer::new(Handlers))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await?;
    Ok(())
}
