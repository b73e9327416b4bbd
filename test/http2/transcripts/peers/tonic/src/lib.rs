tonic::include_proto!("example");
