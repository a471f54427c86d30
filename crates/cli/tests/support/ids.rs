//! What is another one each time.

/// A text with `ID` in the place of keys and runs.
pub(crate) fn without_ids(text: &str) -> String {
    let word = |word: &str| {
        let digits = word.trim_end_matches([':', ',']);
        let is_id = digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id { word.replace(digits, "ID") } else { word.to_owned() }
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ") + "\n";
    text.lines().map(line).collect()
}
