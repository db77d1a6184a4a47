// SPDX-License-Identifier: Apache-2.0
//
// Readers: what they read, and what they say about files that are not what they should be.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "data/load.hpp"
#include "files.hpp"
#include "support/catch.hpp"

using namespace std::string_literals;
using Catch::Matchers::ContainsSubstring;
using skim_examples::data_error;
using skim_examples::label_kind;
using skim_examples::load_dataset;
using skim_examples::load_options;
using skim_examples::load_train_test;
using skim_test::gzip;
using skim_test::idx;
using skim_test::npy;
using skim_test::raw;

namespace {

// The message of the data_error that loading ends in; one line, which names the file.
std::string refusal(const std::string& spec, const load_options& options = {}) {
  try {
    (void)load_dataset(spec, options);
  } catch (const data_error& e) {
    const std::string message = e.what();
    CHECK(message.find('\n') == message.npos);
    return message;
  }
  return "(no error)";
}

std::vector<float> row(const skim_examples::dataset& data, std::size_t i) {
  const auto r = data.dense_view().row(i);
  return {r.begin(), r.end()};
}

std::string sized(const std::string& text, std::size_t bytes) {
  return text.substr(0, bytes);
}

}  // namespace

TEST_CASE("Gzip is undone by content, several members in a row are one file", "[unit]") {
  const skim_test::temporary_folder tmp;
  const std::string text = "1,2,0\n3,4,1\n";
  for (const auto& file : {tmp.write("plain.csv", text), tmp.write("a.csv.gz", gzip(text)),
                           tmp.write("named-plain.csv", gzip(text)),
                           tmp.write("two.csv.gz", gzip(sized(text, 5)) + gzip(text.substr(5)))}) {
    const auto data = load_dataset(file);
    CHECK(data.rows == 2);
    CHECK(row(data, 1) == std::vector<float>{3, 4});
  }
}

TEST_CASE("Gzip: every truncation and every damaged byte is refused or harmless", "[unit]") {
  const skim_test::temporary_folder tmp;
  const std::string text = "1,2,0\n3,4,1\n5,6,0\n";
  const std::string packed = gzip(text);
  const auto want = load_dataset(tmp.write("whole.csv", text));
  for (std::size_t n = 0; n < packed.size(); ++n) {
    const auto file = tmp.write("cut.csv.gz", sized(packed, n));
    CHECK_THROWS_AS(load_dataset(file), data_error);
  }
  CHECK_THAT(refusal(tmp.write("cut.csv.gz", sized(packed, packed.size() - 4))),
             ContainsSubstring("cut.csv.gz, byte") && ContainsSubstring("truncated gzip data"));
  for (std::size_t n = 10; n < packed.size(); ++n) {  // from the header on, a checksum guards them
    std::string damaged = packed;
    damaged[n] = static_cast<char>(damaged[n] ^ 0x10);
    const auto file = tmp.write("bad.csv.gz", damaged);
    CHECK_THROWS_AS(load_dataset(file), data_error);
  }
  CHECK_THAT(refusal(tmp.write("tail.csv.gz", packed + "xyz")),
             ContainsSubstring("other bytes follow the end of the gzip data"));
  CHECK_THAT(refusal(tmp.write("text.csv.gz", text)),
             ContainsSubstring("wanted the magic bytes 1f 8b"));
  CHECK(want.rows == 3);
}

TEST_CASE("Files that are not there or not files", "[unit]") {
  const skim_test::temporary_folder tmp;
  CHECK_THAT(refusal(tmp.path("none.csv")),
             ContainsSubstring("none.csv: cannot open: No such file"));
  CHECK_THAT(refusal(""), ContainsSubstring("no file given"));
  std::filesystem::create_directory(tmp.path("d.csv"));
  CHECK_THAT(refusal(tmp.path("d.csv")), ContainsSubstring("is a folder, wanted a file"));
  CHECK_THAT(refusal(tmp.write("data.parquet", "PAR1")),
             ContainsSubstring("cannot tell its format"));
  for (const char* name : {"e.csv", "e.txt", "e.npy"}) {
    CHECK_THAT(refusal(tmp.write(name, "")), ContainsSubstring("empty file"));
  }
  CHECK_THAT(refusal(tmp.write("e.csv.gz", gzip(""))), ContainsSubstring("empty file"));
}

TEST_CASE("NPY: types, shapes, labels", "[unit]") {
  const skim_test::temporary_folder tmp;
  const std::vector<float> f{1.5F, -2, 3, 4, 5, 6};
  const auto y = tmp.write("y.npy", npy("|u1", "(3,)", raw<std::uint8_t>({2, 0, 2})));
  const auto x = tmp.write("x.npy", npy("<f4", "(3, 2)", raw(f)));
  const auto data = load_dataset(x + "," + y);
  CHECK(data.rows == 3);
  CHECK(data.cols == 2);
  CHECK(row(data, 0) == std::vector<float>{1.5F, -2});
  CHECK(data.kind == label_kind::classes);
  CHECK(data.classes == 3);
  CHECK(data.labels == std::vector<skim::label_t>{2, 0, 2});
  CHECK(reinterpret_cast<std::uintptr_t>(data.dense.data()) % 64 == 0);

  const auto same = [&](const char* descr, const std::string& bytes) {
    const auto d = load_dataset(tmp.write("t.npy.gz", gzip(npy(descr, "(1, 3)", bytes))));
    CHECK(d.kind == label_kind::none);
    CHECK(row(d, 0) == std::vector<float>{1, 2, 3});
  };
  same("<f8", raw<double>({1, 2, 3}));
  same("<i4", raw<std::int32_t>({1, 2, 3}));
  same("<i8", raw<std::int64_t>({1, 2, 3}));
  same("|u1", raw<std::uint8_t>({1, 2, 3}));
  same("|i1", raw<std::int8_t>({1, 2, 3}));

  const auto images = load_dataset(tmp.write("i.npy", npy("<f4", "(1, 2, 3)", raw(f))));
  CHECK(images.cols == 6);
  CHECK(images.image_height == 2);

  const auto targets = tmp.write("t.npy", npy("<f4", "(3,)", raw<float>({.5F, 1, 2})));
  CHECK(load_dataset(x + "," + targets).targets == std::vector<float>{.5F, 1, 2});
}

TEST_CASE("NPY: hostile headers and payloads", "[unit]") {
  const skim_test::temporary_folder tmp;
  const auto f = raw<float>({1, 2, 3, 4});
  const auto say = [&](const std::string& bytes) { return refusal(tmp.write("x.npy", bytes)); };
  CHECK_THAT(say("\x93NUMPX\x01\0\0\0"s), ContainsSubstring("wrong magic number"));
  CHECK_THAT(say("PK\x03\x04...."), ContainsSubstring("wrong magic number 50 4b 03 04"));
  CHECK_THAT(say("\x93NUMPY\x09\0\0\0"s), ContainsSubstring("NPY version 9, wanted 1, 2 or 3"));
  CHECK_THAT(say("\x93NUMPY\x02\0\xff\xff\xff\x7f"s), ContainsSubstring("at most 65536"));
  CHECK_THAT(say(npy(">f4", "(2, 2)", f)), ContainsSubstring("NPY type ''>f4'', wanted '<f4'"));
  CHECK_THAT(say(npy("|O", "(2, 2)", f)), ContainsSubstring("wanted '<f4', '<f8', '|u1'"));
  CHECK_THAT(say(npy("<f4", "(2, 2)", f, "True")),
             ContainsSubstring("fortran_order 'True', wanted False"));
  CHECK_THAT(say(npy("<f4", "(2, -2)", f)), ContainsSubstring("wanted whole numbers"));
  CHECK_THAT(say(npy("<f4", "()", f)), ContainsSubstring("wanted an array"));
  CHECK_THAT(say(npy("<f4", "(0, 3)", "")), ContainsSubstring("0 rows of 3 values"));
  CHECK_THAT(say(npy("<f4", "(3, 2)", f)), ContainsSubstring("the header promises 3 x 2 values"));
  CHECK_THAT(say(npy("<f4", "(1, 2)", f)), ContainsSubstring("data go on after the 2 values"));
  // never an allocation of what a header claims
  CHECK_THAT(say(npy("<f4", "(1000000000, 1000)", f)), ContainsSubstring("at most 16 can follow"));
  CHECK_THAT(say(npy("<f4", "(4294967296, 4294967296, 4294967296)", f)),
             ContainsSubstring("impossible size"));
  CHECK_THAT(refusal(tmp.write("x.npy.gz", gzip(npy("<f4", "(1000000, 1000)", f)))),
             ContainsSubstring("the header promises"));
  CHECK_THAT(refusal(tmp.write("y.npy.gz", gzip(npy("<f4", "(5, 2)", f)))),
             ContainsSubstring("truncated: the header promises 10 values, wanted 40 bytes"));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  CHECK_THAT(say(npy("<f4", "(2, 2)", raw<float>({1, 2, 3, nan}))),
             ContainsSubstring("value nan in row 1, column 1"));
  CHECK_THAT(say(npy("<f4", "(2, 2)", raw<float>({1, -inf, 3, 4}))),
             ContainsSubstring("value -inf in row 0, column 1"));
  CHECK_THAT(say(npy("<f8", "(1, 1)", raw<double>({1e300}))), ContainsSubstring("wanted finite"));

  const auto whole = npy("<f4", "(2, 2)", f);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const auto file = tmp.write("cut.npy", sized(whole, n));
    CHECK_THROWS_AS(load_dataset(file), data_error);
  }
}

TEST_CASE("Labels that do not fit their features", "[unit]") {
  const skim_test::temporary_folder tmp;
  const auto x = tmp.write("x.npy", npy("<f4", "(3, 1)", raw<float>({1, 2, 3})));
  const auto y = [&](const std::string& bytes) { return x + "," + tmp.write("y.npy", bytes); };
  CHECK_THAT(refusal(y(npy("|u1", "(2,)", raw<std::uint8_t>({0, 1})))),
             ContainsSubstring("2 labels, wanted 3, one for each row"));
  CHECK_THAT(refusal(y(npy("|u1", "(3, 2)", raw<std::uint8_t>({0, 1, 0, 1, 0, 1})))),
             ContainsSubstring("2 values a row, wanted labels of shape (n)"));
  CHECK_THAT(refusal(y(npy("<f4", "(3,)", raw<float>({0, 1, std::nanf("")})))),
             ContainsSubstring("row 2: label nan, wanted a finite number"));
  load_options classify;
  classify.wanted = skim_examples::task::classification;
  CHECK_THAT(refusal(y(npy("<f4", "(3,)", raw<float>({0, 1.5F, 1}))), classify),
             ContainsSubstring("row 1: label 1.5, wanted a whole number"));
}

TEST_CASE("IDX: images, labels, and files that only look like it", "[unit]") {
  const skim_test::temporary_folder tmp;
  const auto x =
      tmp.write("a-images-idx3-ubyte.gz", gzip(idx({2, 2, 2}, {0, 255, 51, 0, 1, 2, 3, 4})));
  const auto y = tmp.write("a-labels-idx1-ubyte", idx({2}, {1, 0}));
  const auto images = skim_examples::load_images(x, y);
  CHECK(images.count == 2);
  CHECK(images.width == 2);
  CHECK(images.pixels[1] == 255);
  const auto data = skim_examples::to_dataset(images, "a");
  CHECK(row(data, 0) == std::vector<float>{0, 1, 51 * (1.0F / 255), 0});
  CHECK(load_dataset(x + "," + y).labels == std::vector<skim::label_t>{1, 0});

  const auto say = [&](const std::string& bytes) { return refusal(tmp.write("b-ubyte", bytes)); };
  CHECK_THAT(say(idx({2, 2}, {1, 2, 3, 4}, 13)), ContainsSubstring("IDX type 13, wanted 8"));
  CHECK_THAT(say("\0\0\x08\x09"s), ContainsSubstring("9 dimensions, wanted 1 to 4"));
  CHECK_THAT(say("\0\0\x08\x02\0\0"s), ContainsSubstring("truncated IDX header"));
  CHECK_THAT(say(idx({3, 2}, {1, 2, 3, 4})), ContainsSubstring("the header promises 3 x 2 values"));
  CHECK_THAT(say(idx({0xffffffff, 0xffffffff, 0xffffffff}, {1})),
             ContainsSubstring("impossible size"));
  CHECK_THAT(say(idx({2, 1}, {1, 2, 3, 4})), ContainsSubstring("data go on after"));
  CHECK_THROWS_AS(skim_examples::load_images(y, y), data_error);
  const auto few = tmp.write("c-labels-idx1-ubyte", idx({1}, {1}));
  CHECK_THROWS_AS(skim_examples::load_images(x, few), data_error);

  tmp.write("train-images-idx3-ubyte", idx({2, 1, 1}, {0, 255}));
  tmp.write("train-labels-idx1-ubyte", idx({2}, {0, 3}));
  tmp.write("t10k-images-idx3-ubyte", idx({1, 1, 1}, {51}));
  tmp.write("t10k-labels-idx1-ubyte", idx({1}, {1}));
  const auto both = skim_examples::load_both_parts(tmp.path());
  CHECK(both.train.classes == 4);
  CHECK(both.test.classes == 4);
  tmp.write("t10k-labels-idx1-ubyte", idx({1}, {4}));
  CHECK_THROWS_AS(skim_examples::load_both_parts(tmp.path()), data_error);
}

TEST_CASE("Fashion-MNIST by name: found in a folder, or the message says how to get it", "[unit]") {
  const skim_test::temporary_folder tmp;
  load_options options;
  options.fashion_mnist = tmp.path();
  CHECK_THAT(refusal("fashion-mnist", options),
             ContainsSubstring("apt-get install dataset-fashion-mnist"));
  tmp.write("train-images-idx3-ubyte.gz", gzip(idx({2, 1, 2}, {0, 255, 9, 9})));
  tmp.write("train-labels-idx1-ubyte.gz", gzip(idx({2}, {9, 0})));
  tmp.write("t10k-images-idx3-ubyte", idx({1, 1, 2}, {0, 255}));
  tmp.write("t10k-labels-idx1-ubyte", idx({1}, {9}));
  const auto both = skim_examples::load_both_parts("fashion-mnist", options);
  CHECK(both.train.rows == 2);
  CHECK(both.train.classes == 10);
  CHECK(both.train.class_name(9) == "ankle boot");
  CHECK(both.test.rows == 1);
  CHECK(load_dataset("fashion-mnist:test", options).labels[0] == 9);
  tmp.write("t10k-labels-idx1-ubyte", idx({1}, {10}));
  CHECK_THAT(refusal("fashion-mnist:test", options),
             ContainsSubstring("label 10 is outside the range"));
  ::setenv("SKIM_FASHION_MNIST", tmp.path().c_str(), 1);
  CHECK(load_dataset("fashion-mnist").rows == 2);
  ::unsetenv("SKIM_FASHION_MNIST");
}

TEST_CASE("CSV: headers, separators, quotes, label columns", "[unit]") {
  const skim_test::temporary_folder tmp;
  SECTION("a header is recognised, names are kept") {
    const auto d = load_dataset(
        tmp.write("a.csv", "\xef\xbb\xbfw, \"a \"\"b\"\"\",y\r\n1, 2 ,0\r\n-3e2,.5,1\r\n"));
    CHECK(d.rows == 2);
    CHECK(d.feature_names == std::vector<std::string>{"w", "a \"b\""});
    CHECK(row(d, 1) == std::vector<float>{-300, .5F});
    CHECK(d.labels == std::vector<skim::label_t>{0, 1});
  }
  SECTION("none is needed, nor an end of the last line") {
    const auto d = load_dataset(tmp.write("a.csv", "1;2;0\n+3;\"4\";1"));
    CHECK(d.rows == 2);
    CHECK(row(d, 1) == std::vector<float>{3, 4});
  }
  SECTION("label columns by number, from the end, by name, none") {
    const auto file = tmp.write("a.csv", "y,u,v\n0,5,6\n1,7,8\n");
    for (const char* label : {"0", "-3", "y"}) {
      load_options o;
      o.csv.label = label;
      const auto d = load_dataset(file, o);
      CHECK(d.feature_names == std::vector<std::string>{"u", "v"});
      CHECK(d.labels == std::vector<skim::label_t>{0, 1});
    }
    load_options o;
    o.csv.label = "none";
    CHECK(load_dataset(file, o).cols == 3);
    o.csv.label = "z";
    CHECK_THAT(refusal(file, o), ContainsSubstring("no label column 'z'"));
    o.csv.label = "3";
    CHECK_THAT(refusal(file, o), ContainsSubstring("a number from 0 to 2"));
  }
  SECTION("texts as classes") {
    const auto d =
        load_dataset(tmp.write("iris.csv", "5.1,3.5,setosa\n6,3,virginica\n5,3,setosa\n"));
    CHECK(d.class_names == std::vector<std::string>{"setosa", "virginica"});
    CHECK(d.labels == std::vector<skim::label_t>{0, 1, 0});
  }
  SECTION("fractions are targets, few integers are classes") {
    CHECK(load_dataset(tmp.write("r.csv", "1,0.5\n2,0.25\n")).kind == label_kind::targets);
    const auto d = load_dataset(tmp.write("c.csv", "1,-1\n2,1\n3,-1\n"));
    CHECK(d.labels == std::vector<skim::label_t>{0, 1, 0});
    CHECK(d.class_name(0) == "-1");
  }
}

TEST_CASE("CSV: what is wrong is named by line and column", "[unit]") {
  const skim_test::temporary_folder tmp;
  const auto say = [&](const std::string& text) { return refusal(tmp.write("x.csv", text)); };
  CHECK_THAT(say("1,2,0\n3,x,1\n"), ContainsSubstring("x.csv:2: column 1 is 'x', wanted a number"));
  CHECK_THAT(say("a,b,y\n3,,1\n"),
             ContainsSubstring("x.csv:2: column 1 (b) is empty, wanted a number"));
  CHECK_THAT(say("1,2,0\n3,4x,1\n"), ContainsSubstring("'4x', wanted a number"));
  CHECK_THAT(say("1,nan,0\n"), ContainsSubstring("'nan', wanted a finite number"));
  CHECK_THAT(say("1,2,0\n-inf,2,0\n"), ContainsSubstring("'-inf', wanted a finite number"));
  CHECK_THAT(say("1,1e39,0\n"), ContainsSubstring("within the range of float"));
  CHECK_THAT(say("1,2,nan\n"), ContainsSubstring("'nan', wanted a finite number"));
  CHECK_THAT(say("1,2,1e400\n"), ContainsSubstring("within the range of float"));
  CHECK_THAT(say("1,2,0\n3,4\n"), ContainsSubstring("x.csv:2: 2 fields, wanted 3"));
  CHECK_THAT(say("1,2,0\n3,4,1,\n"), ContainsSubstring("x.csv:2: 4 fields, wanted 3"));
  CHECK_THAT(say("1,2,0\n\n3,4,1\n"), ContainsSubstring("x.csv:2: empty line, wanted 3 fields"));
  CHECK_THAT(say("a,b\n"), ContainsSubstring("only a header"));
  CHECK_THAT(say("1\n2\n"), ContainsSubstring("one column"));
  CHECK_THAT(say("1,\"2,0\n"), ContainsSubstring("quoted field is not closed"));
  CHECK_THAT(say("1,\"2\"x,0\n"), ContainsSubstring("text follows a quoted field"));
  CHECK_THAT(say("1,2,0\n1,2,dog\n"),
             ContainsSubstring("label 'dog' in column 2, wanted a number"));
  CHECK_THAT(say("1,2,dog\n1,2,0\n"), ContainsSubstring("wanted a text as in the lines before"));
  CHECK_THAT(say("1,2,\n"), ContainsSubstring("column 2 is empty"));
  CHECK_THAT(say("1,a\tb,0\n"), ContainsSubstring("'a?b'"));  // no control bytes in a message
  CHECK_THAT(say("1," + std::string(5000, 'z') + ",0\n"), ContainsSubstring("...'"));
  CHECK_THAT(say("\x01\xff\x00garbage\n"s), ContainsSubstring("only a header"));
}

TEST_CASE("Numbers in text: rounded as the standard library does", "[unit]") {
  using skim_examples::whole_float;
  for (const char* text :
       {"0", "-0", "1", "0.1", "16777215", "16777217", "33554435", "0.0000001", "1.17549e-38",
        "123456.789", "3.4028235e38", ".5", "5.", "1e-3", "12345678901", "0.99999999999", "-7.25",
        "9007199254740993", "0.30000001192092896"}) {
    const auto got = whole_float(text);
    CHECK(got.status == skim_examples::number_status::ok);
    CHECK(got.value == std::strtof(text, nullptr));
  }
  CHECK(whole_float("1e-60").value == 0.0F);
  CHECK(whole_float("1e-400").status == skim_examples::number_status::ok);
  for (const char* text : {"", "-", ".", "1.2.3", "0x10", "1 2", "e5", "--1", "+-1", "1e"}) {
    CHECK(whole_float(text).status == skim_examples::number_status::not_a_number);
  }
  CHECK(whole_float("1e39").status == skim_examples::number_status::out_of_range);
}

TEST_CASE("XC text: one or many labels, rows without labels or features", "[unit]") {
  const skim_test::temporary_folder tmp;
  const auto multi =
      load_dataset(tmp.write("a.txt.gz", gzip("4 5 3\n0,2 1:0.5 4:2\n 0:1\n1\n2,1  3:-1 2:7 \n")));
  CHECK(multi.kind == label_kind::multi);
  CHECK(multi.rows == 4);
  CHECK(multi.cols == 5);
  CHECK(multi.classes == 3);
  CHECK(multi.label_set(0).size() == 2);
  CHECK(multi.label_set(1).empty());
  CHECK(multi.label_set(3)[0] == 1);
  const auto x = multi.sparse_view();
  x.validate();
  CHECK(x.row(2).nonzeros() == 0);
  CHECK(x.row(3).indices[0] == 2);  // sorted on the way
  CHECK(x.row(3).values[0] == 7.0F);

  const auto single = load_dataset(tmp.write("b.txt", "2 5 3\n2 0:1\n0 1:1\n\n"));
  CHECK(single.kind == label_kind::classes);
  CHECK(single.labels == std::vector<skim::label_t>{2, 0});
  const auto both = load_train_test(tmp.path("a.txt.gz"), tmp.path("b.txt"));
  CHECK(both.test.kind == label_kind::multi);
  CHECK(both.test.label_set(0)[0] == 2);
}

TEST_CASE("XC text: what is wrong is named by line", "[unit]") {
  const skim_test::temporary_folder tmp;
  const auto say = [&](const std::string& text) { return refusal(tmp.write("x.txt", text)); };
  CHECK_THAT(say("2 5 3\n0 1:1\n"), ContainsSubstring("ends after 1 rows, wanted the 2"));
  CHECK_THAT(say("1 5 3\n0 1:1\n1 1:1\n"), ContainsSubstring("x.txt:3: a row more than the 1"));
  CHECK_THAT(say("1 5 3\n3 1:1\n"),
             ContainsSubstring("x.txt:2: label 3 is outside the range, wanted ids below 3"));
  CHECK_THAT(say("1 5 3\n0 5:1\n"), ContainsSubstring("x.txt:2: feature 5, wanted ids below 5"));
  CHECK_THAT(say("1 5 3\n0 1:nan\n"), ContainsSubstring("'1:nan', wanted a finite number"));
  CHECK_THAT(say("1 5 3\n0 1:1e99\n"), ContainsSubstring("within the range of float"));
  CHECK_THAT(say("1 5 3\n0 1:2x\n"), ContainsSubstring("'1:2x', wanted a number"));
  CHECK_THAT(say("1 5 3\n0 1:\n"), ContainsSubstring("'1:', wanted a number"));
  CHECK_THAT(say("1 5 3\n0 12\n"), ContainsSubstring("'12', wanted id:value"));
  CHECK_THAT(say("1 5 3\n0 -1:2\n"), ContainsSubstring("'-1:2', wanted id:value"));
  CHECK_THAT(say("1 5 3\n0 1:1 1:2\n"), ContainsSubstring("feature 1 twice"));
  CHECK_THAT(say("1 5 3\n0,,1 1:1\n"), ContainsSubstring("labels '0,,1', wanted whole numbers"));
  CHECK_THAT(say("1 5 3\nx 1:1\n"), ContainsSubstring("labels 'x'"));
  CHECK_THAT(say("0 5 3\n"), ContainsSubstring("header 0 5 3, wanted"));
  CHECK_THAT(say("1 99999999999 3\n0 1:1\n"), ContainsSubstring("below 2^32"));
  CHECK_THAT(
      say("hello\n"),
      ContainsSubstring("x.txt:1: got 'hello', wanted a number as the label of a LIBSVM row"));
  load_options o;
  o.wanted = skim_examples::task::regression;
  CHECK_THAT(refusal(tmp.write("r.txt", "1 5 3\n0 1:1\n"), o), ContainsSubstring("class ids"));
}

TEST_CASE("LIBSVM text: ids from 0 or 1, the same base for both parts", "[unit]") {
  const skim_test::temporary_folder tmp;
  const auto train = tmp.write("a.svm", "+1 1:0.5 3:2\n-1 2:1 # a remark\n-1\n");
  const auto one = load_dataset(train);
  CHECK(one.cols == 3);
  CHECK(one.indices == std::vector<skim::id_t>{0, 2, 1});
  CHECK(one.labels == std::vector<skim::label_t>{1, 0, 0});
  const auto test = tmp.write("b.svm", "1 0:1 5:1\n");
  const auto both = load_train_test(train, test);
  CHECK(both.train.cols == 6);
  CHECK(both.train.indices == std::vector<skim::id_t>{1, 3, 2});
  CHECK(both.test.labels == std::vector<skim::label_t>{1});
  const auto say = [&](const std::string& text) { return refusal(tmp.write("x.svm", text)); };
  CHECK_THAT(say("1 1:1\n\n2 1:1\n"), ContainsSubstring("x.svm:2: empty line"));
  CHECK_THAT(say("1 qid:3 1:1\n"), ContainsSubstring("'qid:3', wanted id:value"));
  CHECK_THAT(say("1\n2\n"), ContainsSubstring("no features"));
}

TEST_CASE("A test set must belong to its training set", "[unit]") {
  const skim_test::temporary_folder tmp;
  const auto a = tmp.write("a.csv", "1,2,0\n3,4,1\n5,6,1\n");
  const auto say = [&](const std::string& text) -> std::string {
    try {
      (void)load_train_test(a, tmp.write("b.csv", text));
    } catch (const data_error& e) {
      return e.what();
    }
    return "(no error)";
  };
  CHECK_THAT(say("1,0\n"), ContainsSubstring("has 1 features and 2 classes, wanted 2 features"));
  CHECK_THAT(
      say("1,2,0\n1,2,2\n"),
      ContainsSubstring(
          "b.csv:2: label 2 is outside the range, wanted one of the 2 training classes (0, 1)"));
  CHECK_THAT(say("1,2,0.5\n"), ContainsSubstring("label 0.5, wanted a whole number"));
  CHECK_THAT(say("1,2,dog\n"), ContainsSubstring("labels are texts, unlike"));
  const auto iris = tmp.write("i.csv", "1,cat\n2,dog\n");
  CHECK_THROWS_AS(load_train_test(iris, tmp.write("j.csv", "1,cow\n")), data_error);
  CHECK(load_train_test(iris, tmp.write("j.csv", "1,dog\n")).test.labels[0] == 1);
}

TEST_CASE("Folders: both parts and the class names beside them", "[unit]") {
  const skim_test::temporary_folder tmp;
  tmp.write("train.txt", "2 3 2\n0 0:1\n1 1:1\n");
  tmp.write("test.txt.gz", gzip("1 3 2\n1 2:1\n"));
  tmp.write("classes.txt", "no\nyes\n");
  const auto both = skim_examples::load_both_parts(tmp.path());
  CHECK(both.test.rows == 1);
  CHECK(both.train.class_name(1) == "yes");
  const skim_test::temporary_folder empty;
  CHECK_THROWS_AS(skim_examples::load_both_parts(empty.path()), data_error);
  CHECK_THROWS_AS(skim_examples::load_both_parts("no-such-set"), data_error);
}

TEST_CASE("Lines longer than a buffer, and a last line without its end", "[unit]") {
  const skim_test::temporary_folder tmp;
  const std::string wide(3'000'000, 'a');
  skim_examples::line_reader in(tmp.write("long.gz", gzip("x\r\n" + wide + "\n\nlast")));
  CHECK(in.next() == "x");
  CHECK(in.next()->size() == wide.size());
  CHECK(in.next() == "");
  CHECK(in.next() == "last");
  CHECK(in.line() == 4);
  CHECK_FALSE(in.next().has_value());
  CHECK_FALSE(in.next().has_value());
}
