//! Tables of scores for people, as every report has them.

use comfy_table::{Table, presets};
use witan_node::jobs::score::Marks;

/// An empty table.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(header);
    table
}

/// A row of marks for each name; a score that nobody has gets no column.
pub fn of_marks(rows: &[(String, &Marks)]) -> Table {
    let columns: Vec<_> =
        SCORES.iter().filter(|(_, of)| rows.iter().any(|(_, it)| of(it).is_some())).collect();
    let names = columns.iter().map(|(name, _)| *name);
    let mut table = table(&std::iter::once("held-out data").chain(names).collect::<Vec<_>>());
    for (name, marks) in rows {
        let scores = columns.iter().map(|(_, of)| percent(of(marks)));
        table.add_row(std::iter::once(name.clone()).chain(scores));
    }
    table
}

/// Such as "12.5 %".
pub fn percent(fraction: Option<f64>) -> String {
    fraction.map_or_else(|| "-".to_owned(), |fraction| format!("{:.1} %", 100.0 * fraction))
}

type Score = fn(&Marks) -> Option<f64>;

const SCORES: [(&str, Score); 6] = [
    ("VQA", |it| it.vqa_accuracy),
    ("old words", |it| it.vqa_accuracy_old_words),
    ("new words", |it| it.vqa_accuracy_new_words),
    ("drawings", |it| it.drawing_accuracy),
    ("old words", |it| it.drawing_accuracy_old_words),
    ("new words", |it| it.drawing_accuracy_new_words),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_that_nobody_has_gets_no_column() {
        let asked = Marks { vqa_accuracy: Some(0.5), ..Marks::default() };
        let drew = Marks { drawing_accuracy: Some(1.0), ..Marks::default() };
        let of = |rows: &[&Marks]| {
            let rows: Vec<_> = rows.iter().map(|it| ("it".to_owned(), *it)).collect();
            of_marks(&rows).to_string()
        };
        let one = of(&[&asked]);
        assert!(one.contains("50.0 %") && !one.contains("drawings"), "{one}");
        let both = of(&[&asked, &drew]);
        assert!(
            both.contains("100.0 %") && both.contains('-') && !both.contains("words"),
            "{both}"
        );
    }
}
