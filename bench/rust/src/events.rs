//! The JSON lines of stdin and stdout.
use serde_json::{Value, json};
use std::io::{self, BufRead};
use tokio::sync::mpsc;

/// Prints one line on stdout.
pub fn emit(event: Value) {
    println!("{event}");
}

pub fn emit_collected() {
    // There is no garbage collector, and the allocator does not say how much is in use.
    emit(json!({ "event": "collected" }));
}

/// Returns the lines of stdin. When stdin ends, so does the program.
pub fn commands() -> mpsc::UnboundedReceiver<Value> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(command) => {
                    let _ = sender.send(command);
                }
                Err(error) => emit(json!({ "event": "failed", "error": error.to_string() })),
            }
        }
        std::process::exit(0);
    });
    receiver
}
