#include "vitreous/io/star.hpp"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace vitreous::star {
namespace {

using std::size_t;
using std::string_view;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool starts_with(string_view text, string_view head) { return text.substr(0, head.size()) == head; }

// Fields of one line, one after the other.
struct Fields {
  const char *at, *end;

  explicit Fields(string_view line) : at(line.data()), end(line.data() + line.size()) {}

  // The next field, false at the end of the line or at a comment.
  bool next(string_view &field) {
    while (at < end && is_blank(*at)) ++at;
    if (at == end || *at == '#') return false;
    if (*at == '"' || *at == '\'') {
      for (const char *p = at + 1; p < end; ++p)
        if (*p == *at && (p + 1 == end || is_blank(p[1]))) {
          field = string_view(at + 1, size_t(p - at - 1));
          at = p + 1;
          return true;
        }  // a quote without an end is part of a name
    }
    const char *start = at;
    while (at < end && !is_blank(*at)) ++at;
    field = string_view(start, size_t(at - start));
    return true;
  }
};

string_view line_at(string_view file, size_t begin) {
  const void *p = std::memchr(file.data() + begin, '\n', file.size() - begin);
  return file.substr(begin, p ? size_t(static_cast<const char *>(p) - file.data()) - begin : file.size() - begin);
}

string_view first_field(string_view line) {
  Fields fields(line);
  string_view field;
  return fields.next(field) ? field : string_view();
}

// A row may begin with a name like data_1/mic.mrc, so a block starts only where data_x stands alone in its line; in a table
// of one column it must moreover follow an empty line or precede a header.
bool starts_block(string_view file, size_t begin, string_view line, size_t n_columns, bool after_gap) {
  Fields fields(line);
  string_view field, more;
  if (!fields.next(field)) return false;
  const bool loop = field == "loop_";
  if (!(loop || starts_with(field, "data_")) || fields.next(more)) return false;
  if (n_columns != 1 || after_gap || loop) return true;
  for (size_t p = begin + line.size() + 1; p < file.size();) {
    const string_view next = line_at(file, p);
    const string_view head = first_field(next);
    if (!head.empty()) return head == "loop_" || head[0] == '_';
    p += next.size() + 1;
  }
  return true;
}

bool store(Column &column, string_view field, Rows &rows) {
  double number;
  std::int64_t integer;
  switch (column.kind) {
    case kNumber:
      if (!parse_number(field, number)) return rows.what = "not a number", false;
      column.numbers.push_back(number);
      return true;
    case kInteger:
      if (field == "True" || field == "False") {  // as Python programs write rlnCtfDataAreCtfPremultiplied and the like
        integer = field == "True";
      } else if (!parse_integer(field, integer)) {
        if (!parse_number(field, number) || !(std::fabs(number) < 9e15) || number != std::floor(number))
          return rows.what = "not an integer", false;
        integer = std::int64_t(number);
      }
      column.integers.push_back(integer);
      return true;
    case kText:
    case kGuess: column.texts.push_back(field); return true;
    case kSkip: return true;
  }
  return true;
}

// One line into the columns; false with rows.what set where it does not fit.
bool store_line(string_view line, Rows &rows) {
  const size_t n_columns = rows.columns.size();
  Fields fields(line);
  string_view field;
  for (size_t c = 0; c < n_columns; ++c) {
    rows.i_column = std::int64_t(c);
    if (!fields.next(field)) {
      if (n_columns > 2) return rows.what = "too few", rows.found = std::to_string(c), false;
      field = string_view();
    } else if (c + 1 == n_columns) {
      const char *start = field.data();
      string_view more;
      if (fields.next(more)) {
        if (n_columns > 2) {
          size_t n = n_columns + 1;
          while (fields.next(more)) ++n;
          return rows.what = "too many", rows.found = std::to_string(n), false;
        }
        while (fields.next(more)) {
        }
        const char *stop = fields.at;
        while (stop > start && is_blank(stop[-1])) --stop;
        field = string_view(start, size_t(stop - start));
      }
    }
    if (!store(rows.columns[c], field, rows)) return rows.found = std::string(field.substr(0, 60)), false;
  }
  return true;
}

// Not nan or inf, and not a name made of digits (007, 20240131123456789).
bool looks_like_a_quantity(string_view text) {
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  if (text.empty() || !(is_digit(text.back()) || text.back() == '.')) return false;
  if (text.find_first_of(".eE") != string_view::npos) return text[0] != '0' || text.size() < 2 || !is_digit(text[1]);
  return text.size() <= 15 && (text[0] != '0' || text.size() == 1);
}

// A guessed column becomes integers or numbers where what would be written reads back as what was read.
void settle(Column &column) {
  column.kind = kText;
  if (column.texts.empty()) return;
  bool integers = true, numbers = true;
  std::string written;
  for (const string_view text : column.texts) {
    std::int64_t integer;
    if (integers && parse_integer(text, integer))
      integers = std::to_string(integer) == text;
    else
      integers = false;
    if (!integers) break;
  }
  if (integers) {
    for (const string_view text : column.texts) {
      std::int64_t integer = 0;
      parse_integer(text, integer);
      column.integers.push_back(integer);
    }
    column.kind = kInteger;
  } else {
    for (const string_view text : column.texts) {
      double number, again;
      numbers = looks_like_a_quantity(text) && parse_number(text, number);
      if (!numbers) break;
      written.clear();
      append_number(written, number, false);
      numbers = parse_number(written, again) && again == number;
      if (!numbers) break;
      column.numbers.push_back(number);
    }
    if (numbers)
      column.kind = kNumber;
    else
      column.numbers = {};
  }
  if (column.kind != kText) column.texts = {};
}

const double kPowersOfTen[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                               1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

bool parse_slowly(string_view text, double &value) {
  if (!text.empty() && text[0] == '+') text.remove_prefix(1);
  if (text.empty() || text[0] == '+') return false;
#if defined(__cpp_lib_to_chars) && __cpp_lib_to_chars >= 201611L
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ptr != text.data() + text.size()) return false;
  if (result.ec == std::errc()) return true;
  if (result.ec != std::errc::result_out_of_range) return false;
#endif
  // Overflow and underflow have a value, which only strtod tells. It knows hexadecimal numbers too; STAR does not.
  if (text.find_first_of("xX") != string_view::npos) return false;
  const std::string copy(text);
  char *end = nullptr;
  value = std::strtod(copy.c_str(), &end);
  return end == copy.c_str() + copy.size();
}

// v in [0, 1e5] with exactly n decimals, rounded as printf does (exact value, ties to even). The product's rounding error is
// known from one fused multiply-add, so ties are seen for what they are.
void append_fixed(std::string &out, double v, int n) {
  const double scale = kPowersOfTen[n], scaled = v * scale, error = std::fma(v, scale, -scaled);
  double whole = std::floor(scaled);
  const double above = (scaled - whole) - 0.5;
  if (above > -error || (above == -error && std::fmod(whole, 2.0) == 1.0)) whole += 1;
  char digits[24];
  int p = 24;
  auto left = std::uint64_t(whole);
  for (int i = 0; left || i <= n; ++i) {
    if (i == n) digits[--p] = '.';
    digits[--p] = char('0' + left % 10);
    left /= 10;
  }
  out.append(digits + p, size_t(24 - p));
}

void append_shortest(std::string &out, double v) {
  char text[40];
#if defined(__cpp_lib_to_chars) && __cpp_lib_to_chars >= 201611L
  out.append(text, size_t(std::to_chars(text, text + sizeof text, v).ptr - text));
#else
  for (int digits = 15; digits <= 17; ++digits) {
    std::snprintf(text, sizeof text, "%.*g", digits, v);
    if (std::strtod(text, nullptr) == v) break;
  }
  out.append(text);
#endif
}

}  // namespace

bool parse_number(string_view text, double &value) {
  const char *p = text.data(), *const end = p + text.size();
  const bool negative = p < end && *p == '-';
  if (p < end && (*p == '-' || *p == '+')) ++p;
  std::uint64_t mantissa = 0;
  int n_digits = 0, exponent = 0;
  for (; p < end && is_digit(*p); ++p, ++n_digits) mantissa = mantissa * 10 + std::uint64_t(*p - '0');
  if (p < end && *p == '.')
    for (++p; p < end && is_digit(*p); ++p, ++n_digits, --exponent) mantissa = mantissa * 10 + std::uint64_t(*p - '0');
  if (n_digits == 0 || n_digits > 18) return parse_slowly(text, value);
  if (p < end && (*p == 'e' || *p == 'E')) {
    ++p;
    const bool down = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+')) ++p;
    int power = 0, n = 0;
    for (; p < end && is_digit(*p) && n < 4; ++p, ++n) power = power * 10 + (*p - '0');
    if (n == 0) return false;
    exponent += down ? -power : power;
  }
  // Both factors are exact in float64, so one rounding remains: the correct one.
  if (p != end || mantissa > (std::uint64_t(1) << 53) || exponent < -22 || exponent > 22) return parse_slowly(text, value);
  const double number = exponent < 0 ? double(mantissa) / kPowersOfTen[-exponent] : double(mantissa) * kPowersOfTen[exponent];
  value = negative ? -number : number;
  return true;
}

bool parse_integer(string_view text, std::int64_t &value) {
  const char *p = text.data(), *const end = p + text.size();
  const bool negative = p < end && *p == '-';
  if (p < end && (*p == '-' || *p == '+')) ++p;
  if (p == end || end - p > 18) return false;
  std::int64_t number = 0;
  for (; p < end; ++p) {
    if (!is_digit(*p)) return false;
    number = number * 10 + (*p - '0');
  }
  value = negative ? -number : number;
  return true;
}

Rows read_rows(string_view file, size_t begin, std::int64_t line_number, const std::string &kinds) {
  Rows rows;
  rows.columns.resize(kinds.size());
  for (size_t c = 0; c < kinds.size(); ++c) rows.columns[c].kind = Kind(kinds[c]);
  rows.end = begin;
  rows.line = line_number;
  bool after_gap = false;
  for (size_t p = begin; p < file.size(); ++line_number) {
    const string_view line = line_at(file, p);
    const size_t next = std::min(file.size(), p + line.size() + 1);
    size_t i = 0;
    while (i < line.size() && is_blank(line[i])) ++i;
    if (i == line.size() || line[i] == '#') {
      after_gap = true;
      p = next;
      continue;
    }
    if ((line[i] == 'd' || line[i] == 'l') && starts_block(file, p, line, kinds.size(), after_gap)) break;
    if (!store_line(line, rows)) {
      rows.error_line = line_number;
      return rows;
    }
    ++rows.n_rows;
    after_gap = false;
    rows.end = p = next;
    rows.line = line_number + 1;
  }
  for (Column &column : rows.columns)
    if (column.kind == kGuess) settle(column);
  return rows;
}

void append_number(std::string &out, double value, bool precise) {
  if (precise || !std::isfinite(value)) return append_shortest(out, value);
  const double size = std::fabs(value);
  const bool negative = value < 0;
  const int decimals = negative ? 5 : 6;
  if ((size > 0 && size < 0.001) || size > 100000) {
    char text[40];
    // A three-digit exponent takes a decimal's place: cutting the text at 12 characters would change it by 90 decades.
    const bool wide = size < 9.9999e-100 || size > 9.9999e99;
    std::snprintf(text, sizeof text, "%.*e", decimals - wide, value);
    out.append(text);
    return;
  }
  const size_t start = out.size();
  if (std::signbit(value)) out.push_back('-');
  append_fixed(out, size, decimals);
  if (out.size() - start > 12) out.resize(start + 12);  // 100000.000000
}

bool append_text(std::string &out, string_view text) {
  if (text.find('\n') != string_view::npos || text.find('\0') != string_view::npos) return false;
  bool quote = text.empty() || text[0] == '"' || text[0] == '\'' || text[0] == '#' || text[0] == '_' || text == "loop_" ||
               starts_with(text, "data_");
  for (const char c : text) quote = quote || is_blank(c);
  if (!quote) return out.append(text), true;
  for (const char mark : {'"', '\''}) {
    bool closes_early = false;
    for (size_t i = 0; i + 1 < text.size(); ++i) closes_early = closes_early || (text[i] == mark && is_blank(text[i + 1]));
    if (closes_early) continue;
    out.push_back(mark);
    out.append(text);
    out.push_back(mark);
    return true;
  }
  return false;
}

}  // namespace vitreous::star
