//! Stages whose `integrity` cannot be.

#![expect(clippy::too_many_lines, reason = "the function is a table")]

use super::refuse::check_stages;

fn stage(integrity: &str) -> String {
    format!("      - {{ name: a, grpc: {{ target: rpc, call: a/b }}, integrity: {integrity} }}\n")
}

#[test]
fn what_goes_together_is_read_and_what_does_not_is_told() {
    let cases: &[(&str, &[&str])] = &[
        (
            "{ sequence: { field: n, step: 160, wrap: 4294967296 } }",
            &[],
        ),
        (
            "{ sequence: { field: n, wrap: type }, key: n, payload: d, split: rows, truth: { rows: '[]', complete: true } }",
            &[],
        ),
        (
            "{ sequence: n, payload: d, split: { stride: 4 }, allow: { missing: 0.1%, mismatched: 1% } }",
            &[],
        ),
        ("{ payload: d, truth: { digest: '${session.id}' } }", &[]),
        (
            "{ sequence: { field: n, step: 0 } }",
            &["12:95: bad_value: `0` is less than 1 (a whole number is written like `20`)"],
        ),
        (
            "{ sequence: { field: n, step: 8, wrap: 8 } }",
            &[
                "12:104: conflict: a `step` of 8 leads round all 8 numbers at once (`wrap` is the first number that does not come any more, and more than `step`)",
            ],
        ),
        (
            "{ sequence: { field: n, wrap: never } }",
            &[
                "12:95: bad_value: `never` says not where the number starts again (write how many numbers there are, at least 2, or `type` for all of the field's)",
            ],
        ),
        (
            "{ sequence: { field: n, wrap: 256 }, truth: { agree: { group: g } } }",
            &[
                "12:65: conflict: numbers that start again do not tell rows apart, and the truth needs that (write the `key` to compare rows by; the sequence itself, if no stream is so long that a number comes again)",
            ],
        ),
        (
            "{ sequence: n, split: rows }",
            &[
                "12:87: conflict: `split` needs `payload` (write the field whose bytes the rows share)",
            ],
        ),
        (
            "{ payload: d, split: rows, truth: { digest: x } }",
            &[
                "12:65: conflict: `split` needs `sequence` (add `sequence`, or remove `split`: whole streams have no rows)",
            ],
        ),
        (
            "{ sequence: n, payload: d, split: { stride: 0 } }",
            &["12:109: bad_value: `0` is less than 1 (a whole number is written like `20`)"],
        ),
        (
            "{ sequence: n, truth: { digest: d, complete: true } }",
            &[
                "12:110: conflict: only a list of rows, or documents, can be complete (remove `complete`, or compare with `rows` or `mongodb`)",
            ],
        ),
        (
            "{ sequence: n, truth: { digest: '${secrets.token}' } }",
            &[
                "12:97: secret_exposed: a secret may not be read here (secrets may stand in addresses, headers, metadata, bodies and messages)",
            ],
        ),
        (
            "{ sequence: n, allow: { missing: 200% } }",
            &[
                "12:98: bad_value: `200%` is not between 0% and 100% (a share is written like `1%` or `0.01`)",
            ],
        ),
    ];
    let stages: Vec<_> = cases
        .iter()
        .map(|(text, told)| (stage(text), *told))
        .collect();
    let cases: Vec<_> = stages
        .iter()
        .map(|(text, told)| (text.as_str(), *told))
        .collect();
    check_stages(&cases);
}
