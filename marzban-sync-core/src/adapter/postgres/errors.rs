//! PostgreSQL's errors in this crate's terms.
//!
//! diesel-async keeps the SQLSTATE of an error to itself: it passes on a coarse kind and the server's message. Errors
//! that pass are therefore told by their message, in English and in Russian, the two languages that servers of bots
//! speak. Of a server with another `lc_messages` (or a message that a later version words anew) a deadlock, a lock that
//! was waited for in vain and a statement that was cancelled are taken for refusals, as `Invalid`; whatever ends the
//! connection is noticed by that, whatever its words.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::port::error::{StoreError, StoreErrorKind};

/// What to do about a pooler that gives each transaction another session.
pub(super) const POOLER: &str = "a connection pooler in transaction mode, such as PgBouncer, stands before PostgreSQL, \
    and the lock of a run needs a session of its own: connect to the server itself, or set pool_mode = session";

/// Messages of errors that are no refusal: a message that holds all of these parts is of this kind. The first that fits
/// counts.
const MESSAGES: &[(&[&str], StoreErrorKind)] = {
    use StoreErrorKind::{Contended, Schema, Unavailable};
    &[
        (&["deadlock detected"], Contended),
        (&["обнаружена взаимоблокировка"], Contended),
        (&["due to lock timeout"], Contended),
        (&["из-за тайм-аута блокировки"], Contended),
        (&["could not obtain lock on"], Contended),
        (&["не удалось получить блокировку"], Contended),
        (&["could not serialize access"], Contended),
        (&["не удалось сериализовать доступ"], Contended),
        (&["canceling statement due to"], Unavailable),
        (&["выполнение оператора отменено"], Unavailable),
        (&["terminating connection"], Unavailable),
        (&["закрытие подключения"], Unavailable),
        (&["the database system is"], Unavailable),
        (&["система баз данных"], Unavailable),
        (&["система БД"], Unavailable),
        (&["too many clients"], Unavailable),
        (&["слишком много клиентов"], Unavailable),
        (&["too many connections"], Unavailable),
        (&["слишком много подключений"], Unavailable),
        (&["remaining connection slots"], Unavailable),
        (&["оставшиеся слоты подключений"], Unavailable),
        // PgBouncer's own words.
        (&["query_wait_timeout"], Unavailable),
        (&["server conn crashed"], Unavailable),
        (&["no more connections allowed"], Unavailable),
        (&["relation ", "does not exist"], Schema),
        (&["отношение ", "не существует"], Schema),
        (&["column ", "does not exist"], Schema),
        (&["столбец ", "не существует"], Schema),
    ]
};

/// Messages about a prepared statement that another client's session has, or has not.
const OF_A_POOLER: &[[&str; 2]] = &[
    ["prepared statement ", "already exists"],
    ["prepared statement ", "does not exist"],
    ["подготовленный оператор ", "уже существует"],
    ["подготовленный оператор ", "не существует"],
];

/// Says what was attempted when a statement failed, and whether a later run may succeed.
pub(super) fn failed(message: &'static str) -> impl FnOnce(DieselError) -> StoreError {
    move |error| {
        let message = if is_of_pooler(&error) { POOLER } else { message };
        StoreError::new(kind(&error), message).with_source(error)
    }
}

fn kind(error: &DieselError) -> StoreErrorKind {
    match error {
        DieselError::DatabaseError(
            DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::ReadOnlyTransaction,
            _,
        )
        | DieselError::BrokenTransactionManager => StoreErrorKind::Unavailable,
        DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => StoreErrorKind::Contended,
        DieselError::DatabaseError(DatabaseErrorKind::Unknown, words) => of_message(words.message()),
        _ => StoreErrorKind::Invalid,
    }
}

fn of_message(message: &str) -> StoreErrorKind {
    MESSAGES
        .iter()
        .find(|(parts, _)| parts.iter().all(|part| message.contains(part)))
        .map_or(StoreErrorKind::Invalid, |(_, kind)| *kind)
}

fn is_of_pooler(error: &DieselError) -> bool {
    let DieselError::DatabaseError(DatabaseErrorKind::Unknown, words) = error else {
        return false;
    };
    OF_A_POOLER
        .iter()
        .any(|parts| parts.iter().all(|part| words.message().contains(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, expected: StoreErrorKind) {
        let error = DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned()));
        assert_eq!(failed("it failed")(error).kind(), expected, "{message}");
    }

    #[test]
    fn what_passes_is_told_from_what_stays_in_english_and_in_russian() {
        for message in [
            "deadlock detected",
            "canceling statement due to lock timeout",
            "could not obtain lock on row in relation \"subscriptions\"",
            "обнаружена взаимоблокировка",
            "выполнение оператора отменено из-за тайм-аута блокировки",
        ] {
            check(message, StoreErrorKind::Contended);
        }
        for message in [
            "canceling statement due to statement timeout",
            "canceling statement due to user request",
            "terminating connection due to administrator command",
            "the database system is starting up",
            "sorry, too many clients already",
            "too many connections for role \"bot\"",
            "выполнение оператора отменено из-за тайм-аута",
            "закрытие подключения по команде администратора",
            "извините, уже слишком много клиентов",
        ] {
            check(message, StoreErrorKind::Unavailable);
        }
        for message in [
            "relation \"marzban_sync_agreements\" does not exist",
            "column config.subscription_id does not exist",
            "отношение \"marzban_sync_runs\" не существует",
        ] {
            check(message, StoreErrorKind::Schema);
        }
        for message in [
            "invalid input value for enum state: \"expired\"",
            "permission denied for table users",
            "value too long for type character varying(5)",
        ] {
            check(message, StoreErrorKind::Invalid);
        }
    }

    #[test]
    fn a_statement_that_another_client_prepared_gives_the_pooler_away() {
        let words = Box::new("prepared statement \"s8\" already exists".to_owned());
        let error = failed("it failed")(DieselError::DatabaseError(DatabaseErrorKind::Unknown, words));
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (StoreErrorKind::Invalid, POOLER)
        );
    }
}
