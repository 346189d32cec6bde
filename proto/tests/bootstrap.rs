//! Regenerates the checked-in code and compares; with `TESTMESH_REGENERATE=1` it writes instead (`cargo xtask gen` does that).

use std::{fs, path::Path};

#[test]
fn generated_code_is_what_the_protos_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = protox::compile(
        [
            "testmesh/v1/common.proto",
            "testmesh/v1/batch.proto",
            "testmesh/v1/mesh.proto",
            "testmesh/v1/control.proto",
        ]
        .map(|file| root.join(file)),
        [root],
    )
    .expect("the protos compile");
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("generated");
    fs::create_dir_all(&out).expect("the folder for tests can be written");
    tonic_prost_build::configure()
        .out_dir(&out)
        .compile_fds(files)
        .expect("code is generated");
    let fresh = fs::read_to_string(out.join("testmesh.v1.rs")).expect("one file per package");
    let path = root.join("src/generated/testmesh.v1.rs");
    if std::env::var_os("TESTMESH_REGENERATE").is_some() {
        fs::write(&path, &fresh).expect("the checked-in file can be written");
        return;
    }
    let kept = fs::read_to_string(&path).expect("the generated code is checked in");
    assert!(
        kept == fresh,
        "proto/src/generated is not what the .proto files say: run `cargo xtask gen`"
    );
}
