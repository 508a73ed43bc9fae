// STAR rows for Python: bytes to numpy columns and back. Texts become Python strings, so the interpreter lock is held then.
#pragma once
#include <memory>
#include <unordered_map>

#include "bind/array.hpp"
#include "vitreous/io/star.hpp"

namespace vitreous {

inline py::object text_object(std::string_view text) {
  // Names in old encodings survive as surrogates and are written back as the same bytes.
  PyObject *object = PyUnicode_DecodeUTF8(text.data(), py::ssize_t(text.size()), "surrogateescape");
  if (!object) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(object);
}

// Equal names share one string while that pays: a column of micrograph names holds few, one of image names none twice.
inline py::object text_column(const std::vector<std::string_view> &texts) {
  py::array out(py::dtype("O"), py::array::ShapeContainer{py::ssize_t(texts.size())});
  auto *slots = static_cast<PyObject **>(out.mutable_data());
  std::unordered_map<std::string_view, PyObject *> seen;
  std::size_t n_shared = 0;
  bool share = true;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    PyObject *object = nullptr;
    if (share) {
      const auto found = seen.find(texts[i]);
      if (found != seen.end()) object = found->second, ++n_shared;
    }
    if (object)
      Py_INCREF(object);
    else {
      object = text_object(texts[i]).release().ptr();
      if (share) seen.emplace(texts[i], object);
    }
    Py_XDECREF(slots[i]);
    slots[i] = object;
    if (share && i >= 4096 && n_shared < i / 4) share = false, seen.clear();
  }
  return std::move(out);
}

inline py::object star_column(star::Column &column) {
  switch (column.kind) {
    case star::kNumber: return to_numpy(std::move(column.numbers));
    case star::kInteger: return to_numpy(std::move(column.integers));
    case star::kSkip: return py::none();
    default: return text_column(column.texts);
  }
}

inline py::dict read_star_rows(const py::bytes &file, std::size_t begin, std::int64_t line, const std::string &kinds) {
  const std::string_view text = file;
  if (begin > text.size()) throw py::value_error("read_rows: begin lies beyond the end");
  star::Rows rows;
  {
    py::gil_scoped_release nogil;
    rows = star::read_rows(text, begin, line, kinds);
  }
  py::dict out;
  out["what"] = rows.what;
  out["found"] = py::bytes(rows.found);
  out["i_column"] = rows.i_column;
  out["error_line"] = rows.error_line;
  out["end"] = rows.end;
  out["line"] = rows.line;
  out["n_rows"] = rows.n_rows;
  py::list columns;
  if (rows.what.empty())
    for (star::Column &column : rows.columns) columns.append(star_column(column));
  out["columns"] = columns;
  return out;
}

// One field of column `column` in row `i`, appended to `out` without padding.
struct StarSource {
  const double *numbers = nullptr;
  const std::int64_t *integers = nullptr;
  PyObject *const *objects = nullptr;
};

inline void append_object(std::string &out, PyObject *object, std::size_t i_column, std::int64_t i_row) {
  if (!PyUnicode_Check(object))
    throw py::type_error("column " + std::to_string(i_column) + ", row " + std::to_string(i_row) + ": expected a string");
  py::object bytes;
  std::string_view text;
  py::ssize_t size = 0;
  if (const char *data = PyUnicode_AsUTF8AndSize(object, &size)) {
    text = std::string_view(data, std::size_t(size));
  } else {  // surrogates from another encoding
    PyErr_Clear();
    bytes = py::reinterpret_steal<py::object>(PyUnicode_AsEncodedString(object, "utf-8", "surrogateescape"));
    if (!bytes) throw py::error_already_set();
    text = std::string_view(PyBytes_AS_STRING(bytes.ptr()), std::size_t(PyBytes_GET_SIZE(bytes.ptr())));
  }
  if (!star::append_text(out, text))
    throw py::value_error("column " + std::to_string(i_column) + ", row " + std::to_string(i_row) +
                          ": holds a line break or both kinds of quotes before blanks");
}

// Rows begin..end as text: each field right-aligned (numbers in 12, texts in 10 characters) and followed by a blank.
inline py::bytes format_star_rows(const py::list &columns, const std::vector<bool> &precise, std::int64_t begin, std::int64_t end,
                                  bool pad) {
  std::vector<StarSource> sources;
  for (const auto item : columns) {
    const auto array = py::reinterpret_borrow<py::array>(item);
    if (array.ndim() != 1 || begin < 0 || begin > end || end > array.shape(0) || !(array.flags() & py::array::c_style))
      throw py::value_error("format_rows: a column is no contiguous vector of at least `end` rows");
    StarSource source;
    if (array.dtype().kind() == 'f' && array.itemsize() == 8)
      source.numbers = static_cast<const double *>(array.data());
    else if (array.dtype().kind() == 'i' && array.itemsize() == 8)
      source.integers = static_cast<const std::int64_t *>(array.data());
    else if (array.dtype().kind() == 'O')
      source.objects = static_cast<PyObject *const *>(array.data());
    else
      throw py::type_error("format_rows: a column is not float64, int64 or object");
    sources.push_back(source);
  }
  if (precise.size() != sources.size()) throw py::value_error("format_rows: precise must have one entry per column");
  std::string out, field;
  for (std::int64_t i = begin; i < end; ++i) {
    for (std::size_t c = 0; c < sources.size(); ++c) {
      const StarSource &s = sources[c];
      field.clear();
      if (s.numbers)
        star::append_number(field, s.numbers[i], precise[c]);
      else if (s.integers)
        field.append(std::to_string(s.integers[i]));
      else
        append_object(field, s.objects[i], c, i);
      const std::size_t width = s.objects ? 10 : 12;
      if (pad && field.size() < width) out.append(width - field.size(), ' ');
      out.append(field);
      if (pad) out.push_back(' ');
    }
    if (pad) out.push_back('\n');
  }
  return py::bytes(out);
}

// What each number becomes when it is written in RELION's format and read again.
inline void round_as_written(const py::object &values, const py::object &out) {
  const auto v = view<Cpu, const double, 1>(values, "values");
  const auto o = view<Cpu, double, 1>(out, "out");
  if (v.shape[0] != o.shape[0]) throw py::value_error("round_as_written: values and out differ in length");
  std::string text;
  for (idx i = 0; i < v.shape[0]; ++i) {
    text.clear();
    star::append_number(text, v.data[i], false);
    if (!star::parse_number(text, o.data[i])) o.data[i] = v.data[i];
  }
}

inline void bind_star(py::module_ &m) {
  m.def("read_rows", &read_star_rows);
  m.def("format_rows", &format_star_rows);
  m.def("round_as_written", &round_as_written);
}

}  // namespace vitreous
