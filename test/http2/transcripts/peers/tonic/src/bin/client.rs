//! The calls of a transcript (README.md): client ADDRESS NAME...
use std::{env, time::Duration};

use tokio_stream::iter;
use tonic::{Request, codec::CompressionEncoding, transport::Endpoint};
use transcript::{greeter_client::GreeterClient, *};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn message(content: &str) -> MessageRequest {
    MessageRequest { content: content.into() }
}

fn nanoseconds(nanos: i32) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds: 0, nanos })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().ok_or("no address")?;
    let channel = Endpoint::from_shared(format!("http://{address}"))?
        .http2_keep_alive_interval(Duration::from_millis(10))
        .keep_alive_while_idle(true)
        .connect()
        .await?;
    let mut greeter = GreeterClient::new(channel.clone());
    let mut gzip = GreeterClient::new(channel.clone())
        .send_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Gzip);
    for name in arguments {
        match name.as_str() {
            "unary" => {
                let mut request = Request::new(message("Ada"));
                request.set_timeout(Duration::from_secs(5));
                request.metadata_mut().insert("x-lead", "one".parse()?);
                greeter.say_hello(request).await?;
            }
            "push" => {
                let request = SubscribeRequest { count: 3, interval: nanoseconds(0) };
                let mut push = greeter.subscribe(request).await?.into_inner();
                while push.message().await?.is_some() {}
            }
            "collect" => {
                let requests = ["a", "bb", "ccc"].map(message);
                greeter.collect(iter(requests)).await?;
            }
            "chat" => {
                let requests = ["one", "two", ""].map(message);
                let mut chat = greeter.chat(iter(requests)).await?.into_inner();
                while chat.message().await?.is_some() {}
            }
            "error" => {
                let mut request = Request::new(message("Ada"));
                request.metadata_mut().insert("x-fail", "5".parse()?);
                greeter.say_hello(request).await.unwrap_err();
            }
            "cancel" => {
                let request = SubscribeRequest { count: 0, interval: nanoseconds(5_000_000) };
                greeter.subscribe(request).await?.into_inner().message().await?;
            }
            "gzip" => {
                gzip.say_hello(message(&"compress me ".repeat(100))).await?;
            }
            "large" => {
                greeter.say_hello(message(&"0123456789".repeat(10_000))).await?;
            }
            "idle" => tokio::time::sleep(Duration::from_millis(50)).await,
            _ => return Err(format!("there is no call named {name}").into()),
        }
    }
    Ok(())
}
