//! The valid name that a mistyped one most likely stands for.

/// The candidate closest to `name`, if any is close enough to be a plausible misspelling.
///
/// Case is ignored in the comparison, so that `PI` finds `pi`.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // The distance is quadratic in the length, and no valid name is anywhere near this long.
    if name.len() > 64 {
        return None;
    }
    let lower = name.to_lowercase();
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&lower, &c.to_lowercase()), c))
        .filter(|&(distance, c)| {
            let length = c.chars().count().max(lower.chars().count());
            // A third of the letters may be wrong, and at least one must be right.
            distance <= (length / 3).max(1) && distance < length
        })
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, c)| c)
}

/// The sentence fragment that proposes [`nearest`], or nothing.
pub(crate) fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |n| format!("; did you mean `{n}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_find_their_name_and_strangers_do_not() {
        let names = ["half_width", "circumference", "up", "sqrt", "pi"];
        for (typed, expected) in [
            ("half_with", Some("half_width")),
            ("halfwidth", Some("half_width")),
            ("circumfrence", Some("circumference")),
            ("sqr", Some("sqrt")),
            ("PI", Some("pi")),
            ("zebra", None),
            ("y", None),
        ] {
            assert_eq!(nearest(typed, names), expected, "{typed}");
        }
    }
}
