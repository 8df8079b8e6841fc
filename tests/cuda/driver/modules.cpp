// Compiled kernels: what an image has, by its own words, and launches of the same kernels on the CPU.
#include "driver.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <elf.h>

extern "C" int inlay_cuda_arguments(const char* name, const unsigned char** sizes, const unsigned char** pointers);
extern "C" int inlay_cuda_launch(const char* name, const unsigned* geometry, unsigned shared_bytes, void** parameters,
                                 const unsigned char* sizes, int count, char* error, int error_bytes);

namespace inlay_driver {

Handles<Module> modules;
Handles<Function> functions;

// Of a block at most, by compute capability.
size_t most_shared() {
    const int capability = 10 * machine.major + machine.minor;
    const int kib = capability == 80 || capability == 87 ? 163 : capability < 90 || capability >= 120 ? 99 : 227;
    return static_cast<size_t>(kib) << 10;
}

// ---- PTX ----

// The number behind `word`, as 100 x its whole part + its decimals: 9.0 is 900.
static int number_after(const std::string& text, const char* word) {
    const size_t at = text.find(word);
    if (at == std::string::npos) {
        return -1;
    }
    int whole = 0, decimals = 0;
    const int found = sscanf(text.c_str() + at + strlen(word), "%d.%d", &whole, &decimals);
    return found < 1 ? -1 : 100 * whole + (found < 2 ? 0 : decimals);
}

// Of the PTX version that a driver for this CUDA takes at most; from CUDA 11 to 13.
static int newest_ptx() {
    const int major = machine.version / 1000, minor = machine.version % 1000 / 10;
    // CUDA 12.7 has no PTX of its own, and 12.5 to 12.7 share 8.5.
    return 100 * (major - 4) + (major == 12 && minor >= 6 ? minor == 8 ? 7 : minor == 9 ? 8 : 5 : minor);
}

// Bytes of "\t.param .u64 name" or ".shared .align 8 .b8 name[128]".
static size_t bytes_of(const std::string& declaration) {
    size_t bits = 0;
    for (size_t at = declaration.find('.'); at != std::string::npos; at = declaration.find('.', at + 1)) {
        if (strchr("bufs", declaration[at + 1]) != nullptr && isdigit(static_cast<unsigned char>(declaration[at + 2]))) {
            bits = strtoul(declaration.c_str() + at + 2, nullptr, 10);
        }
    }
    const size_t many = declaration.find('[');
    return bits / 8 * (many == std::string::npos ? 1 : strtoul(declaration.c_str() + many + 1, nullptr, 10));
}

static std::string name_of(const std::string& declaration) {
    const size_t end = declaration.find_first_of("[;");
    const size_t from = declaration.find_last_of(" \t", end);
    return declaration.substr(from + 1, end - from - 1);
}

static std::vector<std::string> lines(const std::string& text) {
    std::vector<std::string> all;
    for (size_t from = 0; from < text.size();) {
        const size_t end = std::min(text.find('\n', from), text.size());
        all.push_back(text.substr(from, end - from));
        from = end + 1;
    }
    return all;
}

static Result read_ptx(const std::string& ptx, std::map<std::string, Entry>& entries) {
    const int version = number_after("\n" + ptx, "\n.version "), target = number_after("\n" + ptx, "\n.target sm_");
    if (version < 0 || target < 0) {
        return INVALID_PTX;
    }
    if (version > newest_ptx()) {
        return UNSUPPORTED_PTX_VERSION;
    }
    if (target / 100 > 10 * machine.major + machine.minor) {
        return INVALID_PTX;
    }
    std::map<std::string, size_t> shared;  // of the whole file
    Entry* entry = nullptr;
    for (const std::string& line : lines(ptx)) {
        static const std::string BEGIN = ".visible .entry ";
        if (line.compare(0, BEGIN.size(), BEGIN) == 0) {
            entry = &entries[line.substr(BEGIN.size(), line.find('(') - BEGIN.size())];
            *entry = {{}, true, 0, 1024};
        } else if (entry != nullptr && line.find(".param .") != std::string::npos && line.find("ld.param") == std::string::npos) {
            entry->sizes.push_back(static_cast<unsigned char>(bytes_of(line)));
        } else if (entry != nullptr && line.compare(0, 8, ".maxntid") == 0) {
            unsigned x = 1, y = 1, z = 1;
            sscanf(line.c_str(), ".maxntid %u, %u, %u", &x, &y, &z);
            entry->most_threads = x * y * z;
        } else if (line.find(".shared .align") != std::string::npos && line.find(".extern") == std::string::npos) {
            if (entry != nullptr) {
                entry->shared += bytes_of(line);
            } else {
                shared[name_of(line)] = bytes_of(line);
            }
        } else if (line == "}") {
            entry = nullptr;
        } else if (entry != nullptr) {
            // Of the file's a kernel has what it mentions.
            for (auto each = shared.begin(); each != shared.end(); ++each) {
                if (each->second > 0 && line.find(each->first) != std::string::npos) {
                    entry->shared += each->second;
                    each->second = 0;
                }
            }
        }
    }
    return SUCCESS;
}

// ---- cubins ----

static Result read_cubin(const unsigned char* image, std::map<std::string, Entry>& entries) {
    static const int CUDA = 190;
    static const size_t RESERVED_SHARED = 1024;
    const auto* header = reinterpret_cast<const Elf64_Ehdr*>(image);
    if (header->e_machine != CUDA || header->e_ident[EI_CLASS] != ELFCLASS64) {
        return INVALID_IMAGE;
    }
    // CUDA 13 writes ABI version 8, which older drivers do not know, and puts the architecture elsewhere.
    const bool newer = header->e_ident[EI_ABIVERSION] >= 8;
    if (newer && machine.version < 13000) {
        return INVALID_IMAGE;
    }
    const int made_for = newer ? header->e_flags >> 8 & 0xff : header->e_flags & 0xff;
    if (made_for / 10 != machine.major || made_for % 10 > machine.minor) {
        return NO_BINARY_FOR_GPU;
    }
    const auto* sections = reinterpret_cast<const Elf64_Shdr*>(image + header->e_shoff);
    const char* names = reinterpret_cast<const char*>(image + sections[header->e_shstrndx].sh_offset);
    static const std::string CODE = ".text.", SHARED = ".nv.shared.";
    for (int i = 0; i < header->e_shnum; i++) {
        const std::string name = names + sections[i].sh_name;
        if (name.compare(0, CODE.size(), CODE) == 0) {
            entries.insert({name.substr(CODE.size()), Entry{{}, false, 0, 1024}});
        }
    }
    for (int i = 0; i < header->e_shnum; i++) {
        const std::string name = names + sections[i].sh_name;
        auto entry = name.compare(0, SHARED.size(), SHARED) == 0 ? entries.find(name.substr(SHARED.size())) : entries.end();
        if (entry != entries.end()) {
            entry->second.shared = sections[i].sh_size - std::min<size_t>(sections[i].sh_size, RESERVED_SHARED);
        }
    }
    return SUCCESS;
}

Result read_image(const void* image, std::map<std::string, Entry>& entries) {
    const auto* bytes = static_cast<const unsigned char*>(image);
    if (memcmp(bytes, ELFMAG, SELFMAG) == 0) {
        return read_cubin(bytes, entries);
    }
    // What is neither is no image; PTX ends with a zero.
    for (const unsigned char* each = bytes; *each != 0; each++) {
        if (*each > 126 || (*each < 32 && strchr("\t\n\r", *each) == nullptr)) {
            return INVALID_IMAGE;
        }
    }
    return read_ptx(static_cast<const char*>(image), entries);
}

// ---- functions ----

static Result find(const std::shared_ptr<Module>& module, const char* name, void** handle) {
    auto entry = module->entries.find(name);
    if (entry == module->entries.end()) {
        return NOT_FOUND;
    }
    for (const auto& each : functions.all()) {
        if (each.second->module == module && each.second->name == name) {
            *handle = const_cast<void*>(each.first);
            return SUCCESS;
        }
    }
    const unsigned char *sizes, *pointers;
    const int count = inlay_cuda_arguments(name, &sizes, &pointers);
    if (count < 0) {
        complain(std::string(name) + " is in the image, but was not compiled for the CPU");
        return INVALID_SOURCE;
    }
    auto made = std::make_shared<Function>();
    *made = {module, name, entry->second, {sizes, sizes + count}, {pointers, pointers + count}, 0};
    if (made->entry.sizes_known && made->entry.sizes != made->sizes) {
        complain(std::string(name) + " has other arguments in the image than in its source");
        return INVALID_SOURCE;
    }
    made->most_dynamic = PLAIN_SHARED - std::min(PLAIN_SHARED, made->entry.shared);
    *handle = functions.add(made);
    return SUCCESS;
}

static Result code_of(const std::string& error) {
    return error.find("not a multiple of") != std::string::npos ? MISALIGNED_ADDRESS
            : error.find("wrote behind") != std::string::npos ? ILLEGAL_ADDRESS : LAUNCH_FAILED;
}

// A launch with its arguments as they were.
struct Launched {
    std::shared_ptr<Function> function;
    unsigned geometry[6];
    unsigned shared;
    std::vector<uint64_t> arguments;

    Result operator()() {
        if (function->module->unloaded) {
            complain(function->name + " began after its module had been unloaded");
            return ILLEGAL_ADDRESS;
        }
        std::vector<void*> addresses;
        for (size_t i = 0; i < arguments.size(); i++) {
            const void* pointed = reinterpret_cast<const void*>(arguments[i]);
            if (function->pointers[i] && pointed != nullptr && !on_device(pointed, 0)) {
                complain(function->name + " was given a pointer, argument " + std::to_string(i) + ", to what is not the device's memory");
                return ILLEGAL_ADDRESS;
            }
            addresses.push_back(&arguments[i]);
        }
        char error[1000];
        if (inlay_cuda_launch(function->name.c_str(), geometry, shared, addresses.data(), function->sizes.data(),
                              static_cast<int>(arguments.size()), error, sizeof(error)) == 0) {
            return SUCCESS;
        }
        complain(error);
        return code_of(error);
    }
};

static Result launch(const std::shared_ptr<Function>& function, const unsigned* geometry, unsigned shared, Stream& stream,
                     void** parameters) {
    const uint64_t threads = uint64_t{geometry[3]} * geometry[4] * geometry[5];
    if (geometry[0] == 0 || geometry[1] == 0 || geometry[2] == 0 || threads == 0 || geometry[0] > 0x7fffffff || geometry[1] > 65535
            || geometry[2] > 65535 || geometry[3] > 1024 || geometry[4] > 1024 || geometry[5] > 64 || threads > 1024
            || shared > function->most_dynamic || (parameters == nullptr && !function->sizes.empty())) {
        return INVALID_VALUE;
    }
    if (threads > function->entry.most_threads) {
        return LAUNCH_OUT_OF_RESOURCES;
    }
    Launched work;
    work.function = function;
    std::copy(geometry, geometry + 6, work.geometry);
    work.shared = shared;
    for (size_t i = 0; i < function->sizes.size(); i++) {
        uint64_t value = 0;
        memcpy(&value, parameters[i], function->sizes[i]);
        work.arguments.push_back(value);
    }
    return submit(stream, work);
}

}  // namespace inlay_driver

using namespace inlay_driver;

INLAY_API int cuModuleLoadData(void** handle, const void* image) {
    return call_in_context([&] {
        if (handle == nullptr || image == nullptr) {
            return INVALID_VALUE;
        }
        const Result refused = potentially_unsafe();
        if (refused != SUCCESS) {
            return refused;
        }
        auto module = std::make_shared<Module>();
        module->context = current;
        const Result result = read_image(image, module->entries);
        if (result == SUCCESS) {
            *handle = modules.add(module);
        }
        return result;
    });
}

INLAY_API int cuModuleUnload(void* handle) {
    return call_in_context([&] {
        auto module = modules.find(handle);
        if (module == nullptr || module->context != current) {
            return INVALID_HANDLE;
        }
        module->unloaded = true;
        functions.remove_if([&](const Function& each) { return each.module == module; });
        modules.remove(handle);
        return SUCCESS;
    });
}

INLAY_API int cuModuleGetFunction(void** handle, void* module_handle, const char* name) {
    return call_in_context([&] {
        auto module = modules.find(module_handle);
        if (module == nullptr || module->context != current) {
            return INVALID_HANDLE;
        }
        return name == nullptr || *name == 0 ? INVALID_VALUE : find(module, name, handle);
    });
}

INLAY_API int cuFuncSetAttribute(void* handle, int attribute, int value) {
    return call_in_context([&] {
        static const int MAX_DYNAMIC_SHARED_SIZE_BYTES = 8;
        auto function = functions.find(handle);
        if (function == nullptr) {
            return INVALID_HANDLE;
        }
        if (attribute != MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 || value + function->entry.shared > most_shared()) {
            return INVALID_VALUE;
        }
        function->most_dynamic = value;
        return SUCCESS;
    });
}

INLAY_API int cuFuncGetAttribute(int* value, int attribute, void* handle) {
    return call_in_context([&] {
        auto function = functions.find(handle);
        if (function == nullptr) {
            return INVALID_HANDLE;
        }
        switch (attribute) {
            case 0: *value = function->entry.most_threads; return SUCCESS;
            case 1: *value = static_cast<int>(function->entry.shared); return SUCCESS;
            case 8: *value = static_cast<int>(function->most_dynamic); return SUCCESS;
            default: return NOT_SUPPORTED;
        }
    });
}

INLAY_API int cuLaunchKernel(void* handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                             unsigned block_z, unsigned shared, void* stream_handle, void** parameters, void** extra) {
    return call_in_context([&] {
        auto function = functions.find(handle);
        auto stream = stream_of(stream_handle);
        if (function == nullptr || stream == nullptr || function->module->context != current) {
            return INVALID_HANDLE;
        }
        if (extra != nullptr) {
            return parameters != nullptr ? INVALID_VALUE : NOT_SUPPORTED;
        }
        const unsigned geometry[] = {grid_x, grid_y, grid_z, block_x, block_y, block_z};
        return launch(function, geometry, shared, *stream, parameters);
    });
}
