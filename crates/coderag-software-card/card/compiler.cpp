// CUDA's run-time compiler (libnvrtc), which compiles a kernel's source for the processor. What it returns as machine
// code is a library, its length before it.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <map>
#include <mutex>
#include <regex>
#include <sstream>
#include <string>
#include <unistd.h>

#define API extern "C" __attribute__((visibility("default")))

enum { SUCCESS = 0, COMPILATION = 6 };

struct program {
    std::string source, log, image;
};

API int nvrtcVersion(int *major, int *minor) {
    *major = 12;
    // That of no real one, whose machine code is another.
    *minor = 99;
    return SUCCESS;
}
API const char *nvrtcGetErrorString(int) {
    return "an error of the software card";
}
API int nvrtcCreateProgram(program **made, const char *source, const char *, int, const char **, const char **) {
    *made = new program{source, "", ""};
    return SUCCESS;
}
API int nvrtcDestroyProgram(program **made) {
    delete *made;
    *made = nullptr;
    return SUCCESS;
}

// Where this library is, and kernel.h beside it.
static std::string folder() {
    Dl_info found;
    dladdr(reinterpret_cast<void *>(folder), &found);
    std::string path = found.dli_fname;
    return path.substr(0, path.rfind('/'));
}

static std::string contents(const std::string &path) {
    std::stringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
}

API int nvrtcCompileProgram(program *compiled, int count, const char **options) {
    // Tests load many models of the same sizes.
    static std::mutex lock;
    static std::map<std::string, std::string> known;
    std::lock_guard<std::mutex> guard(lock);
    std::string definitions;
    for (int at = 0; at < count; at++)
        if (!strncmp(options[at], "-D", 2)) definitions += std::string(" ") + options[at];
    std::string &image = known[definitions + "\n" + compiled->source];
    if (!image.empty()) {
        compiled->image = image;
        return SUCCESS;
    }
    static int number = 0;
    std::string name = folder() + "/kernels-" + std::to_string(getpid()) + "-" + std::to_string(number++);
    {
        std::ofstream file(name + ".cpp");
        file << "#include \"" << folder() << "/kernel.h\"\n#line 1\n" << compiled->source << "\n";
        std::regex kernels("__global__\\s+void\\s+(?:__launch_bounds__\\([^)]*\\)\\s*)?(\\w+)\\s*\\(");
        // What a branch of the preprocessor leaves out has no launcher either.
        auto first = std::sregex_iterator(compiled->source.begin(), compiled->source.end(), kernels);
        for (auto found = first; found != std::sregex_iterator(); ++found) {
            std::string kernel = (*found)[1];
            if (kernel.find("_tensor") != std::string::npos) file << "#if BFLOAT16 && HEAD % 16 == 0\n";
            file << "SOFTWARE_LAUNCHER(" << kernel << ")\n";
            if (kernel.find("_tensor") != std::string::npos) file << "#endif\n";
        }
    }
    std::string command = "c++ -std=c++17 -O2 -march=native -ffp-contract=fast -shared -fPIC -w";
    command += definitions + " -o " + name + ".so " + name + ".cpp > " + name + ".log 2>&1";
    int status = system(command.c_str());
    compiled->log = contents(name + ".log");
    std::string library = contents(name + ".so");
    uint64_t length = library.size();
    compiled->image = std::string(reinterpret_cast<char *>(&length), sizeof(length)) + library;
    for (const char *kind : {".cpp", ".log", ".so"}) remove((name + kind).c_str());
    if (status != 0) return COMPILATION;
    image = compiled->image;
    return SUCCESS;
}

API int nvrtcGetProgramLogSize(program *compiled, size_t *size) {
    *size = compiled->log.size() + 1;
    return SUCCESS;
}
API int nvrtcGetProgramLog(program *compiled, char *log) {
    memcpy(log, compiled->log.c_str(), compiled->log.size() + 1);
    return SUCCESS;
}
API int nvrtcGetCUBINSize(program *compiled, size_t *size) {
    *size = compiled->image.size();
    return SUCCESS;
}
API int nvrtcGetCUBIN(program *compiled, char *image) {
    memcpy(image, compiled->image.data(), compiled->image.size());
    return SUCCESS;
}
