//! From text to an expression that may be run: parsed, limited, its names listed, and rewritten.
//!
//! Rewriting passes the meter to the functions that need it, charges each comprehension for its
//! range, and replaces equality and `in` where an operand may be a container of ours.

use cel::common::ast::CallExpr;
use cel::common::ast::{EntryExpr, Expr as Ast, IdedExpr, LiteralValue, SourceInfo, operators};

use super::env::{CHARGE, ENV, EQUAL, FUNCTIONS, MACROS, METER, METERED, METHODS, WITHIN};
use crate::plan::nearest::nearest;

/// The longest expression, in bytes.
pub const MAX_SOURCE: usize = 4096;
/// The most nodes of an expression, macros expanded.
pub const MAX_NODES: usize = 2_000;
/// The deepest nesting of an expression, macros expanded.
pub const MAX_DEPTH: usize = 100;

const TOO_LARGE: &str = "the expression is too large";
const SPLIT: &str = "split it over several stages with `save`";

/// Names of types, which are values in CEL: `type(x) == int`.
const TYPES: &[&str] = &[
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
];

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExprProblem {
    /// Where in the source, in characters from 0; `None`: the whole.
    pub at: Option<(usize, usize)>,
    /// Whether a name is unknown, rather than the expression wrong.
    pub scope: bool,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
}

/// A name that an expression reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// The name before the first dot.
    pub(super) root: String,
    /// The name after it.
    pub(super) field: Option<String>,
    /// The name after that.
    pub(super) inner: Option<String>,
    /// Where in the source, in characters from 0.
    pub(super) at: (usize, usize),
}

/// A compiled expression.
pub(super) struct Compiled {
    pub(super) ast: IdedExpr,
    pub(super) references: Vec<Reference>,
    pub(super) metered: bool,
}

pub(super) fn compile(source: &str) -> Result<Compiled, Vec<ExprProblem>> {
    let whole = |message: String, hint: &str| {
        let hint = Some(hint.to_owned());
        vec![ExprProblem {
            at: None,
            scope: false,
            message,
            hint,
        }]
    };
    if source.trim().is_empty() {
        return Err(whole(
            "the expression is empty".to_owned(),
            "write a CEL expression",
        ));
    }
    if source.len() > MAX_SOURCE {
        let message = format!("the expression has {} bytes", source.len());
        return Err(whole(message, &format!("at most {MAX_SOURCE} are allowed")));
    }
    if crowded(source) {
        let message = TOO_LARGE.to_owned();
        return Err(whole(message, SPLIT));
    }
    let parsed = ENV
        .parser()
        .max_recursion_depth(64)
        .parse_with_source_info(source);
    let (mut ast, info) = parsed.map_err(|errors| vec![syntax_problem(source, &errors)])?;
    let mut walk = Walk {
        info: &info,
        bound: Vec::new(),
        references: Vec::new(),
        problems: Vec::new(),
        nodes: 0,
        metered: false,
    };
    walk.expr(&mut ast, 0);
    if walk.problems.is_empty() {
        Ok(Compiled {
            ast,
            references: walk.references,
            metered: walk.metered,
        })
    } else {
        Err(walk.problems)
    }
}

/// Whether the source has more operators or brackets than the parser, which recurses, should see.
fn crowded(source: &str) -> bool {
    const MOST: usize = 600;
    let marks = source
        .bytes()
        .filter(|byte| b"+-*/%!?<>=&|.,([{:".contains(byte));
    marks.count() > MOST
}

/// The first syntax error; what follows it is mostly its consequence.
fn syntax_problem(source: &str, errors: &cel::ParseErrors) -> ExprProblem {
    let problem = |at, message, hint| ExprProblem {
        at,
        scope: false,
        message,
        hint,
    };
    let Some(error) = errors.errors.first() else {
        return problem(
            None,
            "the expression does not compile".to_owned(),
            syntax_hint(source),
        );
    };
    if error.msg.contains("Recursion limit") {
        return problem(None, TOO_LARGE.to_owned(), Some(SPLIT.to_owned()));
    }
    let (line, column) = (usize::try_from(error.pos.0), usize::try_from(error.pos.1));
    let at = line.ok().zip(column.ok()).map(|(line, column)| {
        let before = source.split_inclusive('\n').take(line.saturating_sub(1));
        let start =
            before.map(|line| line.chars().count()).sum::<usize>() + column.saturating_sub(1);
        (start, start + 1)
    });
    let first_line = error.msg.lines().next().unwrap_or_default();
    let message = format!(
        "the expression does not compile: {}",
        plain_syntax(first_line)
    );
    problem(at, message, syntax_hint(source))
}

/// The parser's message without what only its authors understand.
fn plain_syntax(message: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = message
        .split_once(" expecting ")
        .map_or(message, |(start, _)| start);
    let starts = [
        "mismatched input ",
        "extraneous input ",
        "no viable alternative at input ",
        "token recognition error at: ",
    ];
    match starts.iter().find_map(|start| message.strip_prefix(start)) {
        Some(rest) if rest.contains("<EOF>") => "unexpected end".to_owned(),
        Some(rest) => format!("unexpected {}", rest.replace(' ', "")),
        None => message.to_owned(),
    }
}

fn syntax_hint(source: &str) -> Option<String> {
    let words: Vec<&str> = source.split_whitespace().collect();
    let has = |word: &str| words.contains(&word);
    if has("and") || has("or") || has("not") {
        return Some("CEL writes `&&`, `||` and `!`".to_owned());
    }
    if source.contains("${") {
        return Some("`${…}` is for strings; an expression stands bare".to_owned());
    }
    let single = source
        .replace("==", "")
        .replace("!=", "")
        .replace("<=", "")
        .replace(">=", "");
    single
        .contains('=')
        .then(|| "CEL compares with `==`".to_owned())
}

struct Walk<'a> {
    info: &'a SourceInfo,
    bound: Vec<String>,
    references: Vec<Reference>,
    problems: Vec<ExprProblem>,
    nodes: usize,
    metered: bool,
}

impl Walk<'_> {
    fn at(&self, id: u64) -> Option<(usize, usize)> {
        let (start, stop) = self.info.offset_for(id)?;
        let (start, stop) = (usize::try_from(start).ok()?, usize::try_from(stop).ok()?);
        // Offsets count characters from 0, the last one included.
        Some((start, stop.max(start) + 1))
    }

    fn problem(&mut self, id: u64, scope: bool, message: String, hint: Option<String>) {
        let at = self.at(id);
        self.problems.push(ExprProblem {
            at,
            scope,
            message,
            hint,
        });
    }

    /// Lists what the expression reads, and rewrites it.
    fn expr(&mut self, expr: &mut IdedExpr, depth: usize) {
        self.nodes += 1;
        if self.nodes > MAX_NODES || depth > MAX_DEPTH {
            if self.problems.is_empty() {
                let hint = SPLIT.to_owned();
                self.problem(expr.id, false, TOO_LARGE.to_owned(), Some(hint));
            }
            return;
        }
        let id = expr.id;
        match &mut expr.expr {
            Ast::Unspecified | Ast::Literal(_) => {}
            Ast::Ident(name) => {
                let name = name.clone();
                self.read(id, &name, &[]);
            }
            Ast::Select(select) => {
                let field = select.field.clone();
                match &mut select.operand.expr {
                    Ast::Ident(root) => {
                        let root = root.clone();
                        self.read(select.operand.id, &root, &[field]);
                    }
                    Ast::Select(outer) if let Ast::Ident(root) = &outer.operand.expr => {
                        let (root, outer_field) = (root.clone(), outer.field.clone());
                        self.nodes += 1;
                        self.read(outer.operand.id, &root, &[outer_field, field]);
                    }
                    _ => self.expr(&mut select.operand, depth + 1),
                }
            }
            Ast::Call(_) => self.call(expr, depth),
            Ast::List(list) => {
                for element in &mut list.elements {
                    self.expr(element, depth + 1);
                }
            }
            Ast::Map(map) => {
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                        self.expr(&mut entry.key, depth + 1);
                        self.expr(&mut entry.value, depth + 1);
                    }
                }
            }
            Ast::Struct(literal) => {
                let message = format!("`{}{{…}}` makes a message", literal.type_name);
                let hint = "plans have maps: `{'name': value}`".to_owned();
                self.problem(id, false, message, Some(hint));
            }
            Ast::Comprehension(_) => self.comprehension(expr, depth),
        }
    }

    /// A name is read, or the fields below it.
    fn read(&mut self, id: u64, root: &str, fields: &[String]) {
        let root = root.strip_prefix('.').unwrap_or(root);
        let hidden = self.bound.iter().any(|bound| bound == root);
        if hidden || root.starts_with('@') || (fields.is_empty() && TYPES.contains(&root)) {
            return;
        }
        let (from, to) = self
            .at(id)
            .unwrap_or_else(|| (0, self.info.source.chars().count()));
        let behind: String = self.info.source.chars().skip(to).take(101).collect();
        let with_field = fields.first().filter(|field| {
            behind
                .strip_prefix('.')
                .is_some_and(|rest| rest.starts_with(field.as_str()))
        });
        let at = (
            from,
            to + with_field.map_or(0, |field| field.chars().count() + 1),
        );
        let mut fields = fields.iter().cloned();
        self.references.push(Reference {
            root: root.to_owned(),
            field: fields.next(),
            inner: fields.next(),
            at,
        });
    }

    fn comprehension(&mut self, expr: &mut IdedExpr, depth: usize) {
        let id = expr.id;
        let Ast::Comprehension(loops) = &mut expr.expr else {
            return;
        };
        self.metered = true;
        self.expr(&mut loops.iter_range, depth + 1);
        let range = std::mem::take(&mut loops.iter_range);
        loops.iter_range = call(id, CHARGE, vec![ident(id, METER), range]);
        self.expr(&mut loops.accu_init, depth + 1);
        let bound = self.bound.len();
        self.bound.push(loops.iter_var.clone());
        self.bound.extend(loops.iter_var2.clone());
        self.bound.push(loops.accu_var.clone());
        self.expr(&mut loops.loop_cond, depth + 1);
        self.expr(&mut loops.loop_step, depth + 1);
        self.expr(&mut loops.result, depth + 1);
        self.bound.truncate(bound);
    }

    fn call(&mut self, expr: &mut IdedExpr, depth: usize) {
        let id = expr.id;
        let Ast::Call(called) = &mut expr.expr else {
            return;
        };
        if let Some(target) = &mut called.target {
            self.expr(target, depth + 1);
        }
        for arg in &mut called.args {
            self.expr(arg, depth + 1);
        }
        let name = called.func_name.clone();
        if called.target.is_some() {
            if !METHODS.contains(&name.as_str()) {
                self.unknown_function(id, &name, METHODS);
            }
            return;
        }
        let operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
        if !operator && !FUNCTIONS.contains(&name.as_str()) {
            self.unknown_function(id, &name, FUNCTIONS);
            return;
        }
        if METERED.contains(&name.as_str()) {
            self.metered = true;
            called.args.insert(0, ident(id, METER));
        }
        match name.as_str() {
            operators::EQUALS if !compares_scalars(&called.args) => {
                EQUAL.clone_into(&mut called.func_name);
            }
            operators::NOT_EQUALS if !compares_scalars(&called.args) => {
                let args = std::mem::take(&mut called.args);
                let not = vec![call(id, EQUAL, args)];
                expr.expr = call(id, operators::LOGICAL_NOT, not).expr;
            }
            operators::IN => WITHIN.clone_into(&mut called.func_name),
            _ => {}
        }
    }

    fn unknown_function(&mut self, id: u64, name: &str, known: &[&str]) {
        let message = format!("there is no function `{name}`");
        let others = [FUNCTIONS, METHODS, MACROS].concat();
        let hint = nearest(name, others.iter().copied()).map_or_else(
            || format!("there are {}", known.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        self.problem(id, true, message, Some(hint));
    }
}

/// Whether CEL's own equality is right: one side is a literal that is no container.
fn compares_scalars(args: &[IdedExpr]) -> bool {
    let scalar = |arg: &IdedExpr| {
        matches!(
            &arg.expr,
            Ast::Literal(
                LiteralValue::Boolean(_)
                    | LiteralValue::Bytes(_)
                    | LiteralValue::Double(_)
                    | LiteralValue::Int(_)
                    | LiteralValue::Null
                    | LiteralValue::String(_)
                    | LiteralValue::UInt(_)
            )
        )
    };
    args.iter().any(scalar)
}

fn ident(id: u64, name: &str) -> IdedExpr {
    IdedExpr {
        id,
        expr: Ast::Ident(name.to_owned()),
    }
}

fn call(id: u64, name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    let call = CallExpr {
        func_name: name.to_owned(),
        target: None,
        args,
    };
    IdedExpr {
        id,
        expr: Ast::Call(call),
    }
}
