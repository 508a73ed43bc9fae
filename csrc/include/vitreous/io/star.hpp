// Rows of a STAR loop: text -> columns, columns -> text. Headers and blocks are python/vitreous/io/star.py's; only the part
// whose time grows with the number of particles is here (docs/decisions/0001-star-writer.md).
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vitreous::star {

enum Kind : char {
  kNumber = 'd',   // float64
  kInteger = 'i',  // int64; a whole number written as 3.000 counts
  kText = 's',
  kGuess = 'u',    // int64 or float64 where every field survives being written again, else text
  kSkip = '-',     // not kept
};

struct Column {
  Kind kind = kText;
  std::vector<double> numbers;
  std::vector<std::int64_t> integers;
  std::vector<std::string_view> texts;  // into the file's bytes
};

struct Rows {
  std::vector<Column> columns;
  std::int64_t n_rows = 0;
  std::size_t end = 0;    // offset of the first byte after the last row
  std::int64_t line = 0;  // its line number
  // The first mistake, if any: what is "", "too few", "too many", "not a number" or "not an integer"
  std::string what, found;
  std::int64_t i_column = 0, error_line = 0;
};

// Reads rows from offset begin (whose line number is line) until the next block, loop_ or the end of the file.
// Fields are separated by blanks and tabs; quotes hold blanks; # starts a comment; empty and comment lines are skipped.
// Tables of at most two columns are lenient: a missing field is empty, and surplus fields belong to the last one.
Rows read_rows(std::string_view file, std::size_t begin, std::int64_t line, const std::string &kinds);

// True where text is a number: [+-]digits[.digits][e[+-]digits], nan or inf. Correctly rounded to float64.
bool parse_number(std::string_view text, double &value);
bool parse_integer(std::string_view text, std::int64_t &value);

// RELION's format: 6 decimals, exponents for |v| < 0.001 and > 100000, 5 decimals for negative numbers, 12 characters.
// precise: the shortest text that reads back as the same float64. Both return text without padding.
void append_number(std::string &out, double value, bool precise);

// A text field as the reader takes it back: quoted where it is empty or holds blanks or begins like something else.
// False where no quoting can hold it (a line break, or both quotes before blanks).
bool append_text(std::string &out, std::string_view text);

}  // namespace vitreous::star
