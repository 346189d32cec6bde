//! The generated code is what the proto says: regenerates it without `protoc` and compares.
//!
//! `TESTMESH_REGENERATE=1 cargo test -p testmesh-testbed --test it bootstrap` writes it instead.

use std::path::Path;

const FILE: &str = "pandadatastream.rs";

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile(["pandadatastream.proto"], [root.join("proto")]).unwrap();
    let out = std::env::temp_dir().join(format!("testbed-generated-{}", std::process::id()));
    std::fs::create_dir_all(&out).unwrap();
    tonic_prost_build::configure()
        .build_server(false)
        .build_client(true)
        .build_transport(false)
        .out_dir(&out)
        .compile_fds(descriptors)
        .unwrap();
    let fresh = std::fs::read_to_string(out.join(FILE)).unwrap();
    std::fs::remove_dir_all(&out).unwrap();
    let checked_in = root.join("src/generated").join(FILE);
    if std::env::var_os("TESTMESH_REGENERATE").is_some() {
        std::fs::write(&checked_in, &fresh).unwrap();
    }
    let current = std::fs::read_to_string(&checked_in).unwrap();
    assert!(
        current == fresh,
        "src/generated/{FILE} is stale: run this test with TESTMESH_REGENERATE=1"
    );
}
