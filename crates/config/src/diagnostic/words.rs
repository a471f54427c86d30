//! Words for messages: text from outside made safe to show, near words, lists.

/// Text from outside for a message: escaped, and cut where it is long.
pub(crate) fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(48).flat_map(char::escape_debug).collect();
    // `escape_debug` is for Rust literals; quotes need no escape here.
    shown = shown.replace("\\\"", "\"").replace("\\'", "'");
    if text.chars().nth(48).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// The word of `words` nearest to `word`, if any is near.
pub(crate) fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // Nobody mistypes a word into one three times as long, and the distance of
    // long texts is expensive.
    if word.len() > 64 {
        return None;
    }
    let folded = word.to_lowercase().replace('_', "-");
    words
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&folded, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(folded.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.to_owned())
}

/// A list for a hint: `` `a`, `b` and `c` ``, cut where it is long.
pub(crate) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut quoted: Vec<String> = words.into_iter().take(21).map(|w| format!("`{w}`")).collect();
    if quoted.len() > 20 {
        quoted.truncate(20);
        return format!("{}, …", quoted.join(", "));
    }
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [init @ .., last] => format!("{} and {last}", init.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let fields = ["inputs", "outputs", "run", "test-timeout"];
        assert_eq!(nearest("input", fields), Some("inputs".to_owned()));
        assert_eq!(nearest("test_timeout", fields), Some("test-timeout".to_owned()));
        assert_eq!(nearest("Run", fields), Some("run".to_owned()));
        assert_eq!(nearest("script", fields), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), fields), None);
    }

    #[test]
    fn text_from_outside_is_shown_inert_and_short() {
        assert_eq!(quote("it's \"so\""), "`it's \"so\"`");
        assert_eq!(quote("a\u{1b}[31m\n\u{202e}"), "`a\\u{1b}[31m\\n\\u{202e}`");
        assert_eq!(quote(&"x".repeat(60)), format!("`{}…`", "x".repeat(48)));
    }
}
