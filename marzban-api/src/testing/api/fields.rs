//! The fields of a JSON body, read as pydantic reads them and refused with its messages.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::testing::api::datetime::{Moment, Reader};
use crate::testing::api::request::{Call, Query};
use crate::testing::api::response::Answer;
use crate::testing::api::syntax::{self, Fault};

pub(crate) const NOT_AN_OBJECT: &str = "Input should be a valid dictionary or object to extract fields from";

/// Refuses a body that is no JSON, which the panel does before it looks at the token.
///
/// A body of null is none, and one that does not claim to be JSON is a text.
pub(crate) fn syntax(call: &Call) -> Result<Option<Value>, Answer> {
    if call.body.is_empty() {
        return Ok(None);
    }
    if !call.claims_json() {
        return Ok(Some(Value::String(String::new())));
    }
    match syntax::read(&call.body) {
        Ok(Value::Null) => Ok(None),
        Ok(body) => Ok(Some(body)),
        Err(Fault::At(offset)) => Err(Answer::invalid(&[(
            offset.to_string(),
            "JSON decode error".to_owned(),
        )])),
        Err(Fault::Unreadable) => Err(Answer::detail(400, "There was an error parsing the body")),
    }
}

/// The fields of one object, and what is wrong with them so far.
pub(crate) struct Fields<'a> {
    pub(crate) object: &'a Map<String, Value>,
    problems: Vec<(String, String)>,
    overflow: bool,
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(object: &'a Map<String, Value>) -> Self {
        Self {
            object,
            problems: Vec::new(),
            overflow: false,
        }
    }

    /// The fields of a whole body, which has to be there and to be an object.
    pub(crate) fn of_body(json: Option<&'a Value>) -> Result<Self, Answer> {
        let refuse = |message: &str| Err(Answer::invalid(&[("body".to_owned(), message.to_owned())]));
        match json {
            None => refuse("Field required"),
            Some(Value::Object(object)) => Ok(Self::new(object)),
            Some(_) => refuse(NOT_AN_OBJECT),
        }
    }

    /// Answers all problems at once, or hands on what was read.
    pub(crate) fn finish<T>(self, body: T) -> Result<T, Answer> {
        if !self.problems.is_empty() {
            return Err(Answer::invalid(&self.problems));
        }
        // A number beyond 64 bits passes the model and fails in the database, before anything is stored.
        if self.overflow {
            return Err(Answer::internal_error());
        }
        Ok(body)
    }

    /// Takes over the problems of an object inside this one, whose name they do not carry.
    pub(crate) fn absorb(&mut self, inner: Self) {
        self.overflow |= inner.overflow;
        self.problems.extend(inner.problems);
    }

    pub(crate) fn problem(&mut self, field: &str, message: impl Into<String>) {
        self.problems.push((field.to_owned(), message.into()));
    }

    /// The value of a field, where null counts as omitted.
    pub(crate) fn given(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// Refuses null where the panel has a default, which stands for what is absent only.
    pub(crate) fn not_null(&mut self, name: &str, message: &str) {
        if self.object.get(name).is_some_and(Value::is_null) {
            self.problem(name, message);
        }
    }

    /// A text that may be absent.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        if let Value::String(text) = self.given(name)? {
            return Some(text.clone());
        }
        self.problem(name, "Input should be a valid string");
        None
    }

    /// A text that must be there; where it is not, the problem is noted and the text empty.
    pub(crate) fn required_text(&mut self, name: &str) -> String {
        match self.object.get(name) {
            None => self.problem(name, "Field required"),
            Some(Value::String(text)) => return text.clone(),
            Some(_) => self.problem(name, "Input should be a valid string"),
        }
        String::new()
    }

    /// A truth value, also as the words and numbers that pydantic takes for one.
    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        let value = self.given(name)?;
        let word = match value {
            Value::Bool(flag) => return Some(*flag),
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.to_ascii_lowercase(),
            _ => {
                self.problem(name, "Input should be a valid boolean");
                return None;
            }
        };
        match word.as_str() {
            "1" | "1.0" | "true" | "t" | "yes" | "y" | "on" => Some(true),
            "0" | "0.0" | "false" | "f" | "no" | "n" | "off" => Some(false),
            _ => {
                self.problem(name, "Input should be a valid boolean, unable to interpret input");
                None
            }
        }
    }

    /// A truth value that must be there.
    pub(crate) fn required_flag(&mut self, name: &str) -> bool {
        match self.object.get(name) {
            None => self.problem(name, "Field required"),
            Some(Value::Null) => self.problem(name, "Input should be a valid boolean"),
            Some(_) => return self.flag(name).unwrap_or_default(),
        }
        false
    }

    /// A number that may have a fraction.
    pub(crate) fn number(&mut self, name: &str) -> Option<f64> {
        let value = self.given(name)?;
        let number = match value {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_f64(),
        };
        if number.is_none() {
            self.problem(name, "Input should be a valid number");
        }
        number
    }

    /// One word of a list; `message` names the list.
    pub(crate) fn choice<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Option<T>,
        message: &str,
    ) -> Option<T> {
        let chosen = self.object.get(name)?.as_str().and_then(parse);
        if chosen.is_none() {
            self.problem(name, message);
        }
        chosen
    }

    pub(crate) fn integer(&mut self, name: &str) -> Option<i64> {
        let value = self.given(name)?;
        self.integer_of(name, value)
    }

    pub(crate) fn integer_of(&mut self, name: &str, value: &Value) -> Option<i64> {
        match value {
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => Some(integer),
                (None, Some(float)) if float.fract() != 0.0 => {
                    self.problem(
                        name,
                        "Input should be a valid integer, got a number with a fractional part",
                    );
                    None
                }
                (None, float) => self.whole(float),
            },
            Value::String(text) => match integer_of_text(text) {
                Ok(integer) => Some(integer),
                Err(message) => {
                    self.problem(name, message);
                    None
                }
            },
            Value::Bool(flag) => Some(i64::from(*flag)),
            _ => {
                self.problem(name, "Input should be a valid integer");
                None
            }
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range is checked, and the panel truncates too"
    )]
    pub(crate) fn whole(&mut self, float: Option<f64>) -> Option<i64> {
        // 2^63, the first float that is too large.
        const LIMIT: f64 = 9_223_372_036_854_775_808.0;
        match float {
            Some(float) if (-LIMIT..LIMIT).contains(&float) => Some(float as i64),
            _ => {
                self.overflow = true;
                None
            }
        }
    }

    /// The panel drops an offset instead of converting by it; a number is Unix time.
    pub(crate) fn moment(&mut self, name: &str) -> Option<DateTime<Utc>> {
        let moment = match self.given(name)? {
            Value::Number(number) => number.as_f64().and_then(Moment::of_number),
            Value::String(text) => Moment::read(text, Reader::Model),
            _ => None,
        };
        let moment = moment.map(|moment| moment.naive.and_utc());
        if moment.is_none() {
            self.problem(
                name,
                "Input should be a valid datetime or date, input is too short",
            );
        }
        moment
    }
}

/// Reads an integer as the panel reads one from text: surrounding space and a fraction of zeros are fine.
pub(crate) fn integer_of_text(text: &str) -> Result<i64, &'static str> {
    let text = text.trim();
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.chars().all(|digit| digit == '0') => whole,
        _ => text,
    };
    whole
        .parse()
        .map_err(|_| "Input should be a valid integer, unable to parse string as an integer")
}

/// Reads an integer of the query, and notes what is wrong with it.
pub(crate) fn integer_of_query(
    query: &Query,
    name: &str,
    problems: &mut Vec<(String, String)>,
) -> Option<i64> {
    match integer_of_text(query.last(name)?) {
        Ok(integer) => Some(integer),
        Err(message) => {
            problems.push((name.to_owned(), message.to_owned()));
            None
        }
    }
}
