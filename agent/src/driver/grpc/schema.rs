//! What services there are: descriptors from `.proto` files, which need no compiler installed, or from a descriptor set.
//!
//! Imports are found beside the file that names them, beside its parent folders, and relative to the plan. Every file is
//! known by its path relative to the plan, so that one file under two import names is still one file.

use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::sync::Arc;

use http::uri::PathAndQuery;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use crate::driver::transport::chain;

/// Reads a file by its path relative to the plan; `None` if there is none.
pub(crate) type Open<'a> = &'a dyn Fn(&str) -> Option<Arc<[u8]>>;

/// A problem of descriptors, with the place in a `.proto` file where there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct SchemaError {
    pub(crate) message: String,
    /// The way out.
    pub(crate) hint: &'static str,
}

impl SchemaError {
    fn proto(message: String) -> Self {
        Self {
            message,
            hint: "mend the file, or name another",
        }
    }
}

/// Compiles `.proto` files and everything that they import.
pub(crate) fn compile(paths: &[String], open: Open<'_>) -> Result<DescriptorPool, SchemaError> {
    let sources = collect(paths, open)?;
    let mut resolver = ChainFileResolver::new();
    resolver.add(Sources(sources));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    for path in paths {
        compiler
            .open_file(normal(path))
            .map_err(|error| SchemaError::proto(format!("{error:?}")))?;
    }
    Ok(compiler.descriptor_pool())
}

/// Reads a binary `FileDescriptorSet`, as `protoc --include_imports --descriptor_set_out` writes it.
pub(crate) fn decode_set(bytes: &[u8]) -> Result<DescriptorPool, SchemaError> {
    DescriptorPool::decode(bytes).map_err(|error| SchemaError {
        message: chain(&error),
        hint: "write one with `protoc --include_imports --descriptor_set_out`",
    })
}

/// Every file that the named ones reach, parsed, with its imports renamed to paths.
fn collect(paths: &[String], open: Open<'_>) -> Result<BTreeMap<String, File>, SchemaError> {
    let mut files = BTreeMap::new();
    let mut waiting: Vec<String> = paths.iter().map(|path| normal(path)).collect();
    while let Some(path) = waiting.pop() {
        if files.contains_key(&path) {
            continue;
        }
        let bytes =
            open(&path).ok_or_else(|| SchemaError::proto(format!("there is no file `{path}`")))?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| SchemaError::proto(format!("{path}: not UTF-8: {error}")))?;
        let parsed = File::from_source(&path, text)
            .map_err(|error| SchemaError::proto(format!("{error:?}")))?;
        let mut descriptor = parsed.file_descriptor_proto().clone();
        for import in &mut descriptor.dependency {
            if let Some(found) = locate(&path, import, open) {
                import.clone_from(&found);
                waiting.push(found);
            } else if !import.starts_with("google/protobuf/") {
                let message = format!("{path}: there is no file for `import \"{import}\"`");
                let hint = "imports are found beside the file, beside its parent folders, or relative to the plan";
                return Err(SchemaError { message, hint });
            }
        }
        files.insert(path, File::from_file_descriptor_proto(descriptor));
    }
    Ok(files)
}

/// The path of an import, as the file at `from` writes it.
fn locate(from: &str, import: &str, open: Open<'_>) -> Option<String> {
    let folders = Path::new(from).ancestors().skip(1);
    let candidates = folders.map(|folder| normal(&folder.join(import).to_string_lossy()));
    candidates.into_iter().find(|path| open(path).is_some())
}

/// A path without `.` and with every `..` resolved that can be.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if parts
                    .last()
                    .is_some_and(|last| *last != ".." && *last != "/") =>
            {
                parts.pop();
            }
            Component::ParentDir => parts.push(".."),
            Component::RootDir | Component::Prefix(_) => parts.push("/"),
            Component::Normal(part) => parts.push(part.to_str().unwrap_or_default()),
        }
    }
    parts.join("/").replacen("//", "/", 1)
}

struct Sources(BTreeMap<String, File>);

impl FileResolver for Sources {
    fn resolve_path(&self, path: &Path) -> Option<String> {
        path.to_str().map(str::to_owned)
    }

    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        self.0
            .get(name)
            .cloned()
            .ok_or_else(|| protox::Error::file_not_found(name))
    }
}

/// One method of a service.
#[derive(Debug, Clone)]
pub(crate) struct Method {
    pub(crate) path: PathAndQuery,
    pub(crate) input: MessageDescriptor,
    pub(crate) output: MessageDescriptor,
    pub(crate) client_streaming: bool,
    pub(crate) server_streaming: bool,
}

/// A call that is in no descriptor, and what comes nearest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no method `{call}`")]
pub(crate) struct UnknownMethod {
    pub(crate) call: String,
    /// The way out.
    pub(crate) hint: String,
}

/// Finds `package.Service/Method`.
pub(crate) fn find(pool: &DescriptorPool, call: &str) -> Result<Method, UnknownMethod> {
    let name = call.trim_start_matches('/');
    let found = name.split_once('/').and_then(|(service, method)| {
        let service = pool.get_service_by_name(service)?;
        service.methods().find(|known| known.name() == method)
    });
    let Some(method) = found else {
        return Err(UnknownMethod {
            call: call.to_owned(),
            hint: nearest(pool, name),
        });
    };
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    Ok(Method {
        path: path.parse().expect("a protobuf name is a path"),
        input: method.input(),
        output: method.output(),
        client_streaming: method.is_client_streaming(),
        server_streaming: method.is_server_streaming(),
    })
}

/// The names of methods most like `call`, as a hint.
fn nearest(pool: &DescriptorPool, call: &str) -> String {
    let mut known: Vec<String> = pool
        .services()
        .flat_map(|service| {
            service
                .methods()
                .map(|method| method.full_name().to_owned())
                .collect::<Vec<_>>()
        })
        .filter_map(|name| {
            name.rsplit_once('.')
                .map(|(service, method)| format!("{service}/{method}"))
        })
        .collect();
    if known.is_empty() {
        return "the descriptors declare no service".to_owned();
    }
    known.sort_by_cached_key(|name| distance(name, call));
    known.truncate(3);
    format!("nearest: {}", known.join(", "))
}

/// How many edits lie between two names (Levenshtein).
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)], roots: &[&str]) -> Result<DescriptorPool, SchemaError> {
        let files: BTreeMap<String, Arc<[u8]>> = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), Arc::from(text.as_bytes())))
            .collect();
        let roots: Vec<_> = roots.iter().map(|root| (*root).to_owned()).collect();
        compile(&roots, &|path| files.get(path).cloned())
    }

    const SERVICE: &str = r#"
        syntax = "proto3"; package p;
        import "common.proto"; import "google/protobuf/empty.proto";
        service S { rpc Read(Common) returns (stream Common); rpc Ping(google.protobuf.Empty) returns (Common); }"#;
    const COMMON: &str = r#"syntax = "proto3"; package p; message Common { int32 id = 1; }"#;

    #[test]
    fn imports_are_found_beside_the_file_and_above_it() {
        let beside = files(
            &[("protos/s.proto", SERVICE), ("protos/common.proto", COMMON)],
            &["./protos/s.proto"],
        );
        let above = files(
            &[("a/b/s.proto", SERVICE), ("common.proto", COMMON)],
            &["a/b/s.proto"],
        );
        for pool in [beside.expect("compiles"), above.expect("compiles")] {
            let method = find(&pool, "p.S/Read").expect("declared");
            assert_eq!(method.path.as_str(), "/p.S/Read");
            assert!(method.server_streaming && !method.client_streaming);
        }
    }

    #[test]
    fn one_file_under_two_names_is_one_file() {
        let tree = [("protos/s.proto", SERVICE), ("protos/common.proto", COMMON)];
        assert!(files(&tree, &["protos/s.proto", "protos/../protos/common.proto"]).is_ok());
    }

    #[test]
    fn what_does_not_compile_names_its_place() {
        let missing = files(&[("s.proto", SERVICE)], &["s.proto"]).expect_err("refused");
        assert!(missing.message.contains("common.proto"), "{missing}");
        let broken = files(
            &[("s.proto", "syntax = \"proto3\";\nmessage {")],
            &["s.proto"],
        )
        .expect_err("refused");
        assert!(broken.message.contains("s.proto:2:9"), "{broken}");
        assert!(decode_set(b"no descriptors").is_err());
    }

    #[test]
    fn an_unknown_method_suggests_its_neighbours() {
        let pool = files(
            &[("s.proto", SERVICE), ("common.proto", COMMON)],
            &["s.proto"],
        )
        .expect("compiles");
        let unknown = find(&pool, "p.S/Reed").expect_err("unknown");
        assert!(
            unknown.hint.starts_with("nearest: p.S/Read"),
            "{}",
            unknown.hint
        );
    }
}
