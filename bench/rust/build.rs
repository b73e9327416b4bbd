//! Generates the code of the Greeter service from its descriptors, which `buf build` has written: no protoc is needed.
use prost::Message;
use std::{env, error::Error, fs};

const DESCRIPTORS: &str = "HAWSER_GREETER_DESCRIPTORS";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed={DESCRIPTORS}");
    let path = env::var(DESCRIPTORS).map_err(|_| {
        format!("{DESCRIPTORS} is not set; npm run bench sets it and builds this program")
    })?;
    println!("cargo::rerun-if-changed={path}");
    let descriptors = prost_types::FileDescriptorSet::decode(fs::read(path)?.as_slice())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
