// CUDA's driver (libcuda) on the processor, as far as the project calls it. Device memory is the process's own, filled
// with NaN where it is new, streams are synchronous, and a module is a library made by compiler.cpp.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <map>
#include <mutex>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

#define API extern "C" __attribute__((visibility("default")))

enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    NOT_FOUND = 500
};

typedef uint64_t pointer;
struct uint3 {
    unsigned x, y, z;
};
typedef void (*launcher)(uint3 grid, uint3 block, void **parameters);

static std::mutex lock;
static std::map<pointer, size_t> blocks;
static size_t in_use, most_in_use, launches;

// What tests ask the card.
API size_t software_card_memory_in_use() {
    return in_use;
}
API size_t software_card_most_memory_in_use() {
    return most_in_use;
}
API size_t software_card_launches() {
    return launches;
}

// In bytes.
static size_t memory = size_t(8) << 30;
API void software_card_set_memory(size_t bytes) {
    memory = bytes;
}

API int cuInit(unsigned) {
    return SUCCESS;
}
API int cuDriverGetVersion(int *version) {
    *version = 12990;
    return SUCCESS;
}
API int cuDeviceGet(int *device, int number) {
    *device = number;
    return number == 0 ? SUCCESS : INVALID_DEVICE;
}
API int cuDeviceGetCount(int *count) {
    *count = 1;
    return SUCCESS;
}
API int cuDeviceGetName(char *name, int length, int) {
    snprintf(name, length, "the processor");
    return SUCCESS;
}
API int cuDeviceTotalMem_v2(size_t *bytes, int) {
    *bytes = memory;
    return SUCCESS;
}
API int cuMemGetInfo_v2(size_t *free, size_t *total) {
    *total = memory;
    *free = *total - in_use;
    return SUCCESS;
}
API int cuDeviceGetAttribute(int *value, int attribute, int) {
    switch (attribute) {
    case 75: // compute capability, major
        *value = 8;
        break;
    case 76: // minor
        *value = 0;
        break;
    case 10: // lanes of a warp
        *value = 32;
        break;
    case 16: // multiprocessors
        *value = 2;
        break;
    case 115: // memory pools
        *value = 1;
        break;
    default:
        *value = 0;
    }
    return SUCCESS;
}
API int cuDevicePrimaryCtxRetain(void **context, int) {
    *context = reinterpret_cast<void *>(1);
    return SUCCESS;
}
API int cuDevicePrimaryCtxRelease_v2(int) {
    return SUCCESS;
}
// A thread that has not entered the context cannot use the card.
static thread_local void *current;
API int cuCtxSetCurrent(void *context) {
    current = context;
    return SUCCESS;
}
API int cuCtxGetCurrent(void **context) {
    *context = current;
    return SUCCESS;
}
API int cuCtxSynchronize() {
    return SUCCESS;
}
API int cuStreamCreate(void **stream, unsigned) {
    *stream = malloc(1);
    return SUCCESS;
}
API int cuStreamDestroy_v2(void *stream) {
    free(stream);
    return SUCCESS;
}
API int cuStreamSynchronize(void *) {
    return SUCCESS;
}
API int cuStreamWaitEvent(void *, void *, unsigned) {
    return SUCCESS;
}
API int cuEventCreate(void **event, unsigned) {
    *event = malloc(1);
    return SUCCESS;
}
API int cuEventDestroy_v2(void *event) {
    free(event);
    return SUCCESS;
}
API int cuEventRecord(void *, void *) {
    return SUCCESS;
}
API int cuEventSynchronize(void *) {
    return SUCCESS;
}

static int allocate(pointer *to, size_t bytes) {
    if (!current) return INVALID_CONTEXT;
    std::lock_guard<std::mutex> guard(lock);
    if (in_use + bytes > memory) return OUT_OF_MEMORY;
    void *block = aligned_alloc(512, (bytes + 511) / 512 * 512);
    if (!block) return OUT_OF_MEMORY;
    memset(block, 0xff, bytes);
    *to = reinterpret_cast<pointer>(block);
    blocks[*to] = bytes;
    in_use += bytes;
    if (in_use > most_in_use) most_in_use = in_use;
    return SUCCESS;
}
static int give_back(pointer from) {
    std::lock_guard<std::mutex> guard(lock);
    auto block = blocks.find(from);
    if (block == blocks.end()) return INVALID_VALUE;
    in_use -= block->second;
    free(reinterpret_cast<void *>(from));
    blocks.erase(block);
    return SUCCESS;
}
// Whether a place lies in memory that was given out; otherwise what a call with it returns.
static int check(pointer at, size_t bytes) {
    if (!current) return INVALID_CONTEXT;
    std::lock_guard<std::mutex> guard(lock);
    auto block = blocks.upper_bound(at);
    if (block == blocks.begin()) return INVALID_VALUE;
    --block;
    return at + bytes <= block->first + block->second ? SUCCESS : INVALID_VALUE;
}
API int cuMemAllocAsync(pointer *to, size_t bytes, void *) {
    return allocate(to, bytes);
}
API int cuMemAlloc_v2(pointer *to, size_t bytes) {
    return allocate(to, bytes);
}
API int cuMemFreeAsync(pointer from, void *) {
    return give_back(from);
}
API int cuMemFree_v2(pointer from) {
    return give_back(from);
}
API int cuMemHostAlloc(void **to, size_t bytes, unsigned) {
    *to = malloc(bytes);
    return *to ? SUCCESS : OUT_OF_MEMORY;
}
API int cuMemFreeHost(void *from) {
    free(from);
    return SUCCESS;
}
API int cuMemcpyHtoDAsync_v2(pointer to, const void *from, size_t bytes, void *) {
    if (int wrong = check(to, bytes)) return wrong;
    memcpy(reinterpret_cast<void *>(to), from, bytes);
    return SUCCESS;
}
API int cuMemcpyDtoHAsync_v2(void *to, pointer from, size_t bytes, void *) {
    if (int wrong = check(from, bytes)) return wrong;
    memcpy(to, reinterpret_cast<void *>(from), bytes);
    return SUCCESS;
}
API int cuMemsetD8Async(pointer to, unsigned char value, size_t bytes, void *) {
    if (int wrong = check(to, bytes)) return wrong;
    memset(reinterpret_cast<void *>(to), value, bytes);
    return SUCCESS;
}

API int cuModuleLoadData(void **module, const void *image) {
    uint64_t length;
    memcpy(&length, image, sizeof(length));
    int file = memfd_create("kernels", 0);
    if (file < 0) return INVALID_IMAGE;
    const char *from = static_cast<const char *>(image) + sizeof(length);
    for (uint64_t written = 0; written < length;) {
        ssize_t count = write(file, from + written, length - written);
        if (count <= 0) return INVALID_IMAGE;
        written += count;
    }
    *module = dlopen(("/proc/self/fd/" + std::to_string(file)).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!*module) fprintf(stderr, "%s\n", dlerror());
    // The file stays open: the linker knows libraries by their paths, and the path must not be another's.
    return *module ? SUCCESS : INVALID_IMAGE;
}
API int cuModuleUnload(void *) {
    return SUCCESS;
}
API int cuModuleGetFunction(void **function, void *module, const char *name) {
    *function = dlsym(module, ("software_launch_" + std::string(name)).c_str());
    return *function ? SUCCESS : NOT_FOUND;
}
API int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                       unsigned block_y, unsigned block_z, unsigned, void *, void **parameters, void **) {
    if (!current) return INVALID_CONTEXT;
    // What a card refuses.
    if (grid_x == 0 || grid_y == 0 || grid_z == 0 || grid_y > 65535 || grid_z > 65535) return INVALID_VALUE;
    if (block_x * block_y * block_z == 0 || block_x * block_y * block_z > 1024) return INVALID_VALUE;
    std::lock_guard<std::mutex> guard(lock);
    launches++;
    reinterpret_cast<launcher>(function)({grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, parameters);
    return SUCCESS;
}

API int cuGetErrorName(int, const char **name) {
    *name = "an error of the software card";
    return SUCCESS;
}
API int cuGetErrorString(int, const char **text) {
    *text = "an error of the software card";
    return SUCCESS;
}
