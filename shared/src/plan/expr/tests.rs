//! Tests of expressions as plans use them: compiled, checked, evaluated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Expr, JsonTemplate, Names, Random, Scope, Template, Value};
use crate::plan::problem::Position;

const HERE: Position = Position { line: 1, column: 1 };

fn expr(source: &str) -> Expr {
    Expr::compile(source, HERE).unwrap_or_else(|problems| panic!("{source}: {problems:?}"))
}

fn scope() -> Scope<'static> {
    let mut scope = Scope::root();
    let body = br#"{"job_id":"7-abc","n":3,"big":18446744073709551615,"half":0.5,"list":[1,2,3],
        "rows":[{"key":1,"digest":"aa"},{"key":2,"digest":"bb"}],"nested":{"a":{"b":[[1],[2]]}},
        "none":null,"yes":true}"#;
    scope.set_lazy("body", || {
        Value::from_json_slice(body).map_err(|error| error.to_string())
    });
    scope.set("status", 200_i64);
    scope.set("raw", Value::from(vec![0xde_u8, 0xad]));
    scope.set("vars", Value::map([("users", Value::from(20_i64))]));
    scope.set_field("session", "job", "7-abc");
    scope.set_field("session", "index", 4_i64);
    scope.set_random(Arc::new(Random::new(7)));
    scope
}

fn shown(source: &str) -> String {
    match expr(source).evaluate(&scope()) {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("! {}", error.message()),
    }
}

#[test]
fn values_are_what_plans_expect() {
    for (source, value) in [
        ("status == 200 && size(body.job_id) > 0", "true"),
        ("body.n + 1", "4"),
        ("body.big", "18446744073709551615u"),
        ("body.half * 2.0", "1.0"),
        ("body.list[1] + body.list[2]", "5"),
        ("body.rows[1].digest", "\"bb\""),
        ("body.rows.map(r, r.key)", "[1, 2]"),
        ("body.rows.filter(r, r.key > 1)[0].digest", "\"bb\""),
        ("body.rows.all(r, size(r.digest) == 2)", "true"),
        ("body.list == [1, 2, 3]", "true"),
        ("[1, 2, 3] == body.list", "true"),
        (
            "[[1], [2]] == body.nested.a.b && body.nested.a.b == [[1], [2]]",
            "true",
        ),
        ("body.nested == {'a': {'b': [[1], [2]]}}", "true"),
        ("{'a': {'b': [[1], [2]]}} != body.nested", "false"),
        (
            "body.rows[0] == body.rows[0] && body.rows[0] != body.rows[1]",
            "true",
        ),
        (
            "2 in body.list && [2] in body.nested.a.b && body.list[0] in [1]",
            "true",
        ),
        ("'n' in body && !('m' in body)", "true"),
        ("body.list + [4]", "[1, 2, 3, 4]"),
        ("[0] + body.list", "[0, 1, 2, 3]"),
        ("body.none == null", "true"),
        ("body.yes", "true"),
        ("has(body.n) && !has(body.m)", "true"),
        ("has(session.job) && !has(session.jobs)", "true"),
        ("session.job + ':' + string(session.index)", "\"7-abc:4\""),
        (
            "'http://h:' + string(body.n) + '/' + string(vars.users)",
            "\"http://h:3/20\"",
        ),
        ("size(session) == 2", "true"),
        ("b64(raw) + hex(raw)", "\"3q0=dead\""),
        ("range(3).map(i, i * i)", "[0, 1, 4]"),
        ("range(2, 5)", "[2, 3, 4]"),
        ("size(uuid()) == 36 && uuid() != uuid()", "true"),
        (
            "range(100).all(i, random(6) < 6 && random(5, 7) >= 5 && random() < 1.0)",
            "true",
        ),
        ("now() > 1700000000000", "true"),
        (
            "body.job_id.startsWith('7-') && body.job_id.matches('^[0-9]+-[a-z]+$')",
            "true",
        ),
        ("type(body.n) == int ? 'int' : 'other'", "\"int\""),
        ("{'a': body.list, 'b': 1u}.a[0]", "1"),
        (
            "double(body.n) / 2.0 < 2 && int('5') == 5 && uint(body.n) == 3u",
            "true",
        ),
        ("-body.n", "-3"),
    ] {
        assert_eq!(shown(source), value, "{source}");
    }
}

#[test]
fn what_cannot_be_evaluated_says_why() {
    for (source, message) in [
        ("body.m", "! there is no `m`"),
        ("body.list[9]", "! there is no item 9"),
        ("body.n + 'a'", "! `int + string` is not possible"),
        ("body.n < 'a'", "! `int < string` is not possible"),
        ("body.n.x", "! `int . string` is not possible"),
        ("size(body.n)", "! `size` does not take (int)"),
        ("headers.x", "! `headers` is not set"),
        (
            "random(0)",
            "! random: there is no number from 0 and below 0",
        ),
        ("range(1000000)", "! it takes more than 200000 steps"),
        (
            "range(1000).all(a, range(1000).all(b, a + b >= 0))",
            "! it takes more than 200000 steps",
        ),
        ("1 / 0", "! Division by zero of Int(1)"),
    ] {
        assert_eq!(shown(source), message, "{source}");
    }
    let mut scope = Scope::root();
    scope.set_lazy("body", || {
        Err("is not JSON: expected value at line 1 column 1".to_owned())
    });
    let error = expr("body.n == 1").holds(&scope).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`body.n == 1`: `body` is not JSON: expected value at line 1 column 1"
    );
    assert!(expr("body.n == 1 || true").holds(&scope).unwrap());
    let error = expr("1 + 1").holds(&scope).unwrap_err();
    assert_eq!(
        error.message(),
        "its value is of type int, not true or false"
    );
}

fn check(source: &str, names: &Names) -> Vec<String> {
    let problems = match Expr::compile(source, HERE) {
        Ok(expr) => expr.check(names),
        Err(problems) => problems,
    };
    let shown = problems.iter().map(|problem| {
        let place: String = match problem.at {
            Some((from, to)) => source.chars().skip(from).take(to - from).collect(),
            None => "-".to_owned(),
        };
        format!(
            "{place}: {}; {}",
            problem.message,
            problem.hint.as_deref().unwrap_or("-")
        )
    });
    shown.collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn wrong_expressions_are_found_when_compiled() {
    let mut names = Names::default();
    names.add("status");
    names.add("body");
    names.add_fields("vars", ["users", "focus"]);
    names.add_fields("session", ["id", "job"]);
    names.explain(
        "page",
        "results of a stage are for its own `expect`, `until` and `save`",
    );
    let long = format!("1{}", " + 1".repeat(900));
    let deep = format!("{}1{}", "(".repeat(500), ")".repeat(500));
    for (source, problems) in [
        (
            "status == 200 && body.list.all(x, x.y > vars.users)",
            &[][..],
        ),
        (
            "satus == 200",
            &["satus: `satus` is not in scope; did you mean `status`?"][..],
        ),
        (
            "size(body.x) > vars.user",
            &["vars.user: there is no `vars.user` here; did you mean `vars.users`?"],
        ),
        (
            "has(session.jbo)",
            &["session.jbo: there is no `session.jbo` here; did you mean `session.job`?"],
        ),
        (
            "page.title",
            &[
                "page.title: `page` is not in scope; results of a stage are for its own `expect`, `until` and `save`",
            ],
        ),
        (
            "zzz",
            &["zzz: `zzz` is not in scope; in scope are body, session, status, vars"],
        ),
        (
            "body.list.all(x, y)",
            &["y: `y` is not in scope; in scope are body, session, status, vars"],
        ),
        (
            "sise(body)",
            &["(: there is no function `sise`; did you mean `size`?"],
        ),
        (
            "body.x.startWith('a')",
            &["(: there is no function `startWith`; did you mean `startsWith`?"],
        ),
        ("", &["-: the expression is empty; write a CEL expression"]),
        (
            "status = 200",
            &["=: the expression does not compile: unexpected '='; CEL compares with `==`"],
        ),
        (
            "status == 200 and body",
            &[
                "a: the expression does not compile: unexpected 'and'; CEL writes `&&`, `||` and `!`",
            ],
        ),
        (
            &long,
            &["-: the expression is too large; split it over several stages with `save`"],
        ),
        (
            &deep,
            &["-: the expression is too large; split it over several stages with `save`"],
        ),
    ] {
        let found = check(source, &names);
        assert_eq!(found, problems, "{source:.60}");
    }
}

#[test]
fn nothing_overflows_the_stack() {
    for source in [
        format!("1{}", "+1".repeat(590)),
        format!("{}true", "!".repeat(590)),
        format!("{}1", "-".repeat(590)),
        format!("a{}", ".b".repeat(590)),
        format!("{}1{}", "[".repeat(590), "]".repeat(590)),
        format!("{}1{}", "a[".repeat(590), "]".repeat(590)),
        format!("{}1", "true?1:".repeat(290)),
        format!("{}1{}", "{1:".repeat(290), "}".repeat(290)),
        format!("{}x{}", "[1].all(x,".repeat(190), ")".repeat(190)),
    ] {
        let run = move || {
            if let Ok(expr) = Expr::compile(&source, HERE) {
                let _ = expr.evaluate(&Scope::root());
            }
        };
        // As much stack as a worker of the runtime has.
        std::thread::Builder::new()
            .stack_size(2 << 20)
            .spawn(run)
            .unwrap()
            .join()
            .unwrap();
    }
}

#[test]
fn layers_shadow_and_branches_are_absorbed() {
    let root = scope();
    let mut session = Scope::over(&root);
    session.set_field("session", "job", "mine");
    let mut branch = Scope::over(&session);
    branch.set("i", 2_i64);
    branch.set_field("session", "row", 5_i64);
    assert_eq!(
        expr("session.job").evaluate(&branch).unwrap(),
        Value::from("mine")
    );
    assert_eq!(
        expr("session.row + i").evaluate(&branch).unwrap(),
        Value::from(7_i64)
    );
    assert!(expr("session.row").evaluate(&session).is_err());
    let saved = branch.into_fields();
    session.absorb(saved);
    assert_eq!(
        expr("session")
            .evaluate(&session)
            .unwrap()
            .to_json()
            .to_string(),
        r#"{"job":"mine","row":5,"index":4}"#
    );
}

#[test]
fn a_lazy_value_is_made_once_and_only_if_read() {
    let made = AtomicU32::new(0);
    let mut scope = Scope::root();
    scope.set("status", 200_i64);
    scope.set_lazy("body", || {
        made.fetch_add(1, Ordering::Relaxed);
        Ok(Value::from(1_i64))
    });
    assert!(expr("status == 200 || body == 1").holds(&scope).unwrap());
    assert_eq!(made.load(Ordering::Relaxed), 0);
    assert!(expr("body == 1 && body < 2").holds(&scope).unwrap());
    assert_eq!(made.load(Ordering::Relaxed), 1);
}

#[test]
fn a_seed_gives_the_same_numbers_again() {
    let drawn = || {
        expr("range(5).map(i, random(1000)) + [uuid()]")
            .evaluate(&scope())
            .unwrap()
    };
    assert_eq!(drawn(), drawn());
}

fn template(source: &str) -> Template {
    Template::compile(source, HERE).unwrap_or_else(|problems| panic!("{source}: {problems:?}"))
}

#[test]
fn templates_keep_types_and_make_text() {
    let scope = scope();
    for (source, value) in [
        ("plain", "\"plain\""),
        ("", "\"\""),
        ("${body.n}", "3"),
        ("${body.list}", "[1, 2, 3]"),
        ("n=${body.n}/${session.job}", "\"n=3/7-abc\""),
        ("${raw} ${body.yes} ${body.half}", "\"3q0= true 0.5\""),
        ("cost $5 $${x} $", "\"cost $5 ${x} $\""),
        ("${ {'a': '}'}.a }!", "\"}!\""),
    ] {
        assert_eq!(
            format!("{:?}", template(source).value(&scope).unwrap()),
            value,
            "{source}"
        );
    }
    for (source, message) in [
        (
            "x${body.none}",
            "its value is null, which has no place in text",
        ),
        (
            "x${body.list}",
            "its value is a list, which has no place in text",
        ),
        ("x${body.m}", "there is no `m`"),
    ] {
        assert_eq!(
            template(source).text(&scope).unwrap_err().message(),
            message,
            "{source}"
        );
    }
    assert!(template("Bearer ${secrets.token}").is_secret());
    assert_eq!(template("$${a}").literal(), Some("${a}"));
}

#[test]
fn problems_of_templates_are_in_their_place() {
    let mut names = Names::default();
    names.add_fields("vars", ["users"]);
    let source = "é ${vars.users} ${vars.user}";
    let problems = template(source).check(&names);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].at, Some((18, 27)));
    let problems = Template::compile("a ${1 +} ${b", HERE).unwrap_err();
    assert_eq!(problems.len(), 2);
    assert_eq!(problems[1].at, Some((9, 12)));
}

#[test]
fn json_templates_are_rendered_with_types() {
    let tree = JsonTemplate::map(vec![
        (
            "n".to_owned(),
            JsonTemplate::template(template("${body.n}")),
        ),
        (
            "list".to_owned(),
            JsonTemplate::list(vec![JsonTemplate::literal_value(1.into())]),
        ),
    ]);
    assert!(tree.literal().is_none());
    assert_eq!(
        tree.json(&scope()).unwrap().to_string(),
        r#"{"n":3,"list":[1]}"#
    );
}

#[test]
fn wide_maps_are_found_by_key() {
    let wide = Value::map((0..100_i64).map(|i| (format!("k{i}"), Value::from(i))));
    assert_eq!(wide.get("k77").and_then(Value::as_i64), Some(77));
    let twice = Value::map([("a", Value::from(1_i64)), ("a", Value::from(2_i64))]);
    assert_eq!(twice.get("a").and_then(Value::as_i64), Some(2));
}
