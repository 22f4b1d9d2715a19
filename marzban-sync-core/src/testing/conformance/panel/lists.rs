//! How users are asked for.

use super::{Fixture, is_found, list, look, put};
use crate::model::observation::Observation;
use crate::port::panel::MAX_NAMES;

/// The answer has one observation for each name, in the order of the names, whatever the order of the users.
pub async fn answers_stand_in_the_order_of_the_names(fixture: &dyn Fixture) {
    let names = put(fixture, &["one", "two", "three"]).await;
    let nobody = fixture.name("nobody");
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let mut asked: Vec<String> = order
            .iter()
            .filter_map(|place| names.get(*place))
            .cloned()
            .collect();
        asked.insert(1, nobody.clone());
        let found: Vec<bool> = list(fixture, &asked).await.iter().map(is_found).collect();
        assert_eq!(found, [true, false, true, true], "{asked:?}");
    }
}

/// A name that is asked for twice is answered twice, and its answers are the same.
pub async fn a_name_that_is_asked_for_twice_is_answered_twice(fixture: &dyn Fixture) {
    let mut names = put(fixture, &["one", "two"]).await;
    names.extend(names.clone());
    let answers = list(fixture, &names).await;
    assert_eq!(answers.len(), 4);
    let (first, again) = answers.split_at(2);
    assert_eq!(first, again);
    assert!(answers.iter().all(is_found), "{answers:?}");
}

/// As many names as a job asks for at once have as many answers.
pub async fn a_hundred_names_are_one_question(fixture: &dyn Fixture) {
    put(fixture, &["n0", "n50", "n99"]).await;
    let names: Vec<String> = (0..MAX_NAMES)
        .map(|number| fixture.name(&format!("n{number}")))
        .collect();
    let answers = list(fixture, &names).await;
    assert_eq!(answers.len(), MAX_NAMES);
    let found = answers.iter().enumerate().filter(|(_, answer)| is_found(answer));
    assert_eq!(found.map(|(place, _)| place).collect::<Vec<_>>(), [0, 50, 99]);
}

/// Nobody is asked for, and nobody is answered, though the panel has users.
pub async fn no_names_have_no_answers(fixture: &dyn Fixture) {
    put(fixture, &["one"]).await;
    assert_eq!(list(fixture, &[]).await, []);
}

/// An absence in a list is no proof, and asked for by itself it is one.
pub async fn a_user_that_is_not_there_is_absent_in_a_list_and_missing_alone(fixture: &dyn Fixture) {
    put(fixture, &["one"]).await;
    let nobody = fixture.name("nobody");
    assert_eq!(
        list(fixture, std::slice::from_ref(&nobody)).await,
        [Observation::NotListed]
    );
    assert_eq!(look(fixture, &nobody).await, Observation::NotFound);
}

/// A name in other letters is another user's, also where a database ignores case.
pub async fn another_spelling_is_not_the_user(fixture: &dyn Fixture) {
    let names = put(fixture, &["Spelled"]).await;
    let other = fixture.name("sPELLED");
    let asked = [names, vec![other.clone()]].concat();
    let found: Vec<bool> = list(fixture, &asked).await.iter().map(is_found).collect();
    assert_eq!(found, [true, false]);
    assert!(!is_found(&look(fixture, &other).await), "{other}");
}

/// A name reaches the panel as it is, whatever it is made of.
pub async fn names_are_asked_for_to_the_letter(fixture: &dyn Fixture) {
    let odd = [
        "a b",
        "a+b",
        "a&username=c",
        "a?b#c",
        "50%",
        "%2e",
        "имя",
        "O'Brien",
    ];
    let names = put(fixture, &odd).await;
    for (name, answer) in names.iter().zip(list(fixture, &names).await) {
        assert!(is_found(&answer), "{name:?} is {answer:?} in a list");
        let alone = look(fixture, name).await;
        assert!(is_found(&alone), "{name:?} is {alone:?}");
    }
    let near = ["a%20b", "a%2Bb", "a", "50%25", "."].map(|name| fixture.name(name));
    for (name, answer) in near.iter().zip(list(fixture, &near).await) {
        assert_eq!(answer, Observation::NotListed, "{name:?}");
    }
    for name in &names {
        fixture
            .panel()
            .delete_user(name)
            .await
            .expect("the user is deleted");
        assert!(!fixture.has(name).await, "{name:?}");
    }
}
