//! The official normaliser of answers, with its quirks.
//!
//! 1. A punctuation mark is deleted if it stands next to a space anywhere in the text, or if the
//!    text has a digit, a comma and a digit in a row anywhere; otherwise it becomes a space.
//! 2. Periods not followed by a digit are removed. The official pattern's look-behind is inert, and
//!    its flags argument is passed as the count, so at most 32 are removed.
//! 3. Lower-case; number words to digits; articles dropped; contractions given their apostrophe.

/// An answer as the official evaluation compares it. It has no newlines and no tabs any more.
pub fn normalise(text: &str) -> String {
    let text = without_periods(&without_punctuation(text));
    let text = text.to_lowercase();
    let words = text.split(is_blank).filter(|word| !word.is_empty());
    let words = words.map(digits).filter(|word| !ARTICLES.contains(word));
    words.map(with_apostrophe).collect::<Vec<_>>().join(" ")
}

/// What Python's `split` and `strip` take for blank: Unicode's white space and four separators.
pub(super) fn is_blank(letter: char) -> bool {
    letter.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&letter)
}

fn without_punctuation(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let has_comma_between_digits = letters
        .windows(3)
        .any(|three| three[0].is_ascii_digit() && three[1] == ',' && three[2].is_ascii_digit());
    let mut result = text.to_owned();
    for mark in PUNCTUATION {
        let is_beside_space =
            letters.windows(2).any(|two| *two == [mark, ' '] || *two == [' ', mark]);
        let replacement = if is_beside_space || has_comma_between_digits { "" } else { " " };
        result = result.replace(mark, replacement);
    }
    result
}

fn without_periods(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut removed = 0;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let is_before_digit = letters.peek().is_some_and(char::is_ascii_digit);
        if letter == '.' && !is_before_digit && removed < PERIODS_REMOVED_MAX {
            removed += 1;
        } else {
            result.push(letter);
        }
    }
    result
}

fn digits(word: &str) -> &str {
    match word {
        "none" | "zero" => "0",
        "one" => "1",
        "two" => "2",
        "three" => "3",
        "four" => "4",
        "five" => "5",
        "six" => "6",
        "seven" => "7",
        "eight" => "8",
        "nine" => "9",
        "ten" => "10",
        word => word,
    }
}

/// The contraction that a word is when exactly one of the contraction's apostrophes was left out.
fn with_apostrophe(word: &str) -> String {
    if word == ODD.0 {
        return ODD.1.to_owned();
    }
    let lacks_one = |contraction: &&str| {
        contraction.len() == word.len() + 1
            && contraction.match_indices('\'').any(|(at, _)| {
                word.get(..at) == Some(&contraction[..at])
                    && word.get(at..) == Some(&contraction[at + 1..])
            })
    };
    CONTRACTIONS.split(' ').find(lacks_one).unwrap_or(word).to_owned()
}

const PUNCTUATION: [char; 21] = [
    ';', '/', '[', ']', '"', '{', '}', '(', ')', '=', '+', '\\', '_', '-', '>', '<', '@', '`', ',',
    '?', '!',
];
const ARTICLES: [&str; 3] = ["a", "an", "the"];
const PERIODS_REMOVED_MAX: usize = 32;
/// The one entry of the official table that takes an apostrophe away.
const ODD: (&str, &str) = ("somebody'd", "somebodyd");
/// The official table maps each of these from every spelling that lacks one apostrophe. Its entries
/// with capitals, which match no lower-case word, and those that map to themselves are left out.
const CONTRACTIONS: &str = "ain't aren't can't could've couldn't couldn't've didn't doesn't don't \
    hadn't hadn't've hasn't haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll \
    ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock oughtn't 'ow's'at \
    shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's \
    someone'd someone'd've someone'll someone's something'd something'd've something'll that's \
    there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't \
    we'd've we've weren't what'll what're what's what've when's where'd where's where've who'd \
    who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all \
    y'all'd've y'all'll you'd you'd've you'll you're you've";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_normalise_as_officially() {
        let table = [
            // Case, articles, number words.
            ("The Red Circle", "red circle"),
            ("an apple and a pear", "apple and pear"),
            ("None", "0"),
            ("ten", "10"),
            ("eleven", "eleven"),
            ("two dogs", "2 dogs"),
            // Punctuation becomes a space, or goes where it stands by a space or a number has a
            // comma.
            ("black/white", "black white"),
            ("black / white", "black white"),
            ("t-shirt", "t shirt"),
            ("t-shirt - red", "tshirt red"),
            ("yes, it is", "yes it is"),
            ("1,000", "1000"),
            ("1,000-2,000", "10002000"),
            ("what?", "what"),
            ("{left}", "left"),
            // Not in the list: colon, apostrophe.
            ("10:30", "10:30"),
            ("man's", "man's"),
            // Periods.
            ("st. louis", "st louis"),
            ("3.5", "3.5"),
            ("5.", "5"),
            ("a.b", "ab"),
            // Contractions: the table's, and what it lacks.
            ("dont know", "don't know"),
            ("couldntve", "couldntve"),
            ("couldn'tve", "couldn't've"),
            ("couldnt've", "couldn't've"),
            ("yall'd've", "y'all'd've"),
            ("somebody'd", "somebodyd"),
            ("somebodyd've", "somebody'd've"),
            ("twas", "'twas"),
            ("its", "its"),
            ("im", "im"),
            ("shell", "shell"),
            ("let's", "let's"),
            ("été", "été"),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(normalise(text), expected, "{text:?}");
        }
    }

    #[test]
    fn only_the_first_32_periods_go() {
        let text = ".".repeat(40);
        assert_eq!(normalise(&text), ".".repeat(8));
    }

    #[test]
    fn the_contraction_table_has_the_official_number_of_spellings() {
        // 120 official entries, less those with capitals (4) or mapping to themselves (2), less the
        // odd one.
        let spellings: usize = CONTRACTIONS.split(' ').map(|one| one.matches('\'').count()).sum();
        assert_eq!(spellings, SPELLINGS);
    }

    const SPELLINGS: usize = 113;
}
