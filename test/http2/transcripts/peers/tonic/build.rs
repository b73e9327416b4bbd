fn main() -> std::io::Result<()> {
    tonic_prost_build::configure().compile_protos(
        &["../../../../../proto/example/greeter.proto"],
        &["../../../../../proto/example"],
    )
}
