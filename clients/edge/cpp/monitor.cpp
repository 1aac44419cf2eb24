// What a voice sounds like, a line of JSON each second; needs ONNX Runtime and a monitor.onnx.
//
//   monitor monitor.onnx speech.wav
//   arecord -t raw -f S16_LE -r 16000 | monitor monitor.onnx -

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr std::size_t kWindowS = 3, kHopS = 1;  // how much is heard at once, and how often

[[noreturn]] void refuse(const std::string& what) { throw std::runtime_error(what); }

std::uint32_t number(const char* bytes, int count) {  // little-endian
  std::uint32_t value = 0;
  while (count-- > 0) value = value << 8 | static_cast<unsigned char>(bytes[count]);
  return value;
}

// Goes to the samples of a WAV file; gives how many bytes of them it announces.
std::uint64_t to_samples(std::istream& sound, const std::string& path, std::uint32_t rate) {
  const auto way_on = "; ffmpeg -i THIS -ar " + std::to_string(rate) +
                      " -ac 1 -c:a pcm_s16le speech.wav makes one that can";
  std::array<char, 16> chunk;
  bool fits = false;
  const bool read = static_cast<bool>(sound.read(chunk.data(), 12));
  if (!read || std::string(&chunk[0], 4) + std::string(&chunk[8], 4) != "RIFFWAVE")
    refuse(path + ": cannot be read (no WAV file)" + way_on);
  while (sound.read(chunk.data(), 8)) {
    const std::string name(&chunk[0], 4);
    std::uint64_t size = number(&chunk[4], 4);
    if (name == "data" && fits) return size;
    if (name == "fmt " && size >= 16 && sound.read(chunk.data(), 16)) {
      const auto format = number(&chunk[0], 2), channels = number(&chunk[2], 2);
      const auto found = number(&chunk[4], 4), bits = number(&chunk[14], 2);
      fits = (format == 1 || format == 0xFFFE) && channels == 1 && found == rate && bits == 16;
      if (!fits)
        refuse(path + ": cannot be read (" + std::to_string(found) + " Hz, " + std::to_string(bits) +
               " bits, " + std::to_string(channels) + " channel(s), format " +
               std::to_string(format) + ")" + way_on);
      size -= 16;
    }
    sound.ignore(static_cast<std::streamsize>(size + size % 2));
  }
  refuse(path + ": cannot be read (it ends before its samples)" + way_on);
}

std::vector<std::string> strings(const std::string& json) {  // of ["a","b"]
  std::vector<std::string> found;
  for (std::size_t from = json.find('"'); from != std::string::npos; from = json.find('"', from)) {
    const auto to = json.find('"', from + 1);
    found.push_back(json.substr(from + 1, to - from - 1));
    from = to == std::string::npos ? to : to + 1;
  }
  return found;
}

class Model {
 public:
  explicit Model(const char* path) : session_(environment_, path, options()) {
    labels = strings(said("labels"));
    rate = static_cast<std::uint32_t>(std::stoul(said("sample_rate")));
    longest = std::min<std::size_t>(kWindowS * rate, std::stoul(said("max_samples")));
  }

  // Probabilities in the order of the labels; waveform: at `rate`, -1 to 1.
  std::vector<float> judge(std::vector<float>& waveform) {
    const std::array<std::int64_t, 2> shape{1, static_cast<std::int64_t>(waveform.size())};
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const auto input = Ort::Value::CreateTensor<float>(memory, waveform.data(), waveform.size(),
                                                       shape.data(), shape.size());
    const char *in = "waveform", *out = "probabilities";
    const auto outputs = session_.Run(Ort::RunOptions{}, &in, &input, 1, &out, 1);
    if (outputs[0].GetTensorTypeAndShapeInfo().GetElementCount() != labels.size())
      refuse("the model names " + std::to_string(labels.size()) + " labels, and gives another number");
    const float* row = outputs[0].GetTensorData<float>();
    return {row, row + labels.size()};
  }

  std::vector<std::string> labels;
  std::uint32_t rate;
  std::size_t longest;

 private:
  static Ort::SessionOptions options() {
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(1);
    return options;
  }

  std::string said(const char* field) const {
    Ort::AllocatorWithDefaultOptions memory;
    const auto key = std::string("emotion.") + field;
    const auto value = session_.GetModelMetadata().LookupCustomMetadataMapAllocated(key.c_str(), memory);
    if (!value) refuse("the model says nothing of its " + key);
    return value.get();
  }

  Ort::Env environment_{ORT_LOGGING_LEVEL_ERROR};
  Ort::Session session_;
};

void print(const Model& model, const std::vector<float>& row, std::size_t begin, std::size_t end) {
  const auto best = std::max_element(row.begin(), row.end()) - row.begin();
  std::printf("{\"start_s\": %.10g, \"end_s\": %.10g, \"label\": \"%s\", \"probabilities\": {",
              static_cast<double>(begin) / model.rate, static_cast<double>(end) / model.rate,
              model.labels[best].c_str());
  for (std::size_t i = 0; i < row.size(); ++i)
    std::printf("%s\"%s\": %.9g", i ? ", " : "", model.labels[i].c_str(), row[i]);
  std::puts("}}");
  std::fflush(stdout);
}

// Judges a window each hop; what is left at the end is one more if half a hop of it is new.
void listen(Model& model, std::istream& sound, std::uint64_t bytes) {
  std::vector<float> window;
  std::vector<char> block(2 * kHopS * model.rate);
  for (std::size_t end = 0; bytes > 0;) {
    sound.read(block.data(), static_cast<std::streamsize>(std::min<std::uint64_t>(block.size(), bytes)));
    const auto got = static_cast<std::size_t>(sound.gcount());
    if (got < block.size() / 2) return;
    bytes -= got;
    for (std::size_t i = 0; i + 1 < got; i += 2)
      window.push_back(static_cast<std::int16_t>(number(&block[i], 2)) / 32768.0F);
    end += got / 2;
    if (window.size() > model.longest) window.erase(window.begin(), window.end() - model.longest);
    print(model, model.judge(window), end - window.size(), end);
  }
}

}  // namespace

int main(int count, char** arguments) try {
  if (count != 3) refuse("expected: monitor MODEL.onnx SPEECH.wav (or -, for raw 16-bit samples)");
  const std::string path = arguments[2];
  Model model(arguments[1]);
  if (path == "-") {
    std::ios::sync_with_stdio(false);
    listen(model, std::cin, std::numeric_limits<std::uint64_t>::max());
    return 0;
  }
  std::ifstream sound(path, std::ios::binary);
  if (!sound) refuse(path + ": cannot be opened; expected a WAV file");
  listen(model, sound, to_samples(sound, path, model.rate));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "error: %s\n", error.what());
  return 2;
}
