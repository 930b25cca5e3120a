// The add layers' two hot loops: y = -sum |x - w|, and the gradient of its input.
//
// Both work on tiles of TILE output positions of any images. A tile's input is unfolded into one
// row of positions per tap (input channel, kernel row, kernel column), so that a vector is always
// full of positions, whatever the layer's channels and width, and neither loop needs more memory
// than a tile. All arrays are dense float32; x is padded already.
#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <vector>

#if defined(__AVX512DQ__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
constexpr int WIDTH = 16;
#elif defined(__AVX__)
constexpr int WIDTH = 8;
#else
constexpr int WIDTH = 4;
#endif
typedef float Vector __attribute__((vector_size(WIDTH * sizeof(float))));
typedef int Bits __attribute__((vector_size(WIDTH * sizeof(int))));

constexpr int TILE = 64;        // positions
constexpr int VECTORS = TILE / WIDTH;
constexpr int TAPS = 512;       // unfolded at a time: 128 KiB stay in the second-level cache

struct Row {
    Vector at[VECTORS];
    float *values() { return reinterpret_cast<float *>(at); }
};

struct Shape {
    long images, channels, height, width;       // of x, with its padding
    long outputs, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;

    long out_h() const { return (height - dilation_h * (kernel_h - 1) - 1) / stride_h + 1; }
    long out_w() const { return (width - dilation_w * (kernel_w - 1) - 1) / stride_w + 1; }
    long area() const { return out_h() * out_w(); }
    long taps() const { return channels * kernel_h * kernel_w; }
};

// Positions of a tile that lie `stride_w` apart in x and one apart in y.
struct Run {
    int start, length;
    long x, y;                  // of the first, for tap 0 and output channel 0
};

struct Tile {
    int vectors = 0;            // that hold a position
    std::vector<Run> runs;

    Tile(const Shape &s, long first, long last) {
        long out_w = s.out_w(), area = s.area();
        for (long p = first; p < last;) {
            long image = p / area, row = p % area / out_w, column = p % out_w;
            int length = int(std::min(last - p, out_w - column));
            Run run{int(p - first), length,
                    (image * s.channels * s.height + row * s.stride_h) * s.width
                        + column * s.stride_w,
                    image * s.outputs * area + p % area};
            Run *before = runs.empty() ? nullptr : &runs.back();
            if (before && run.x == before->x + before->length * s.stride_w
                       && run.y == before->y + before->length)
                before->length += length;       // as in a kernel of 1 x 1
            else
                runs.push_back(run);
            p += length;
        }
        vectors = int((last - first + WIDTH - 1) / WIDTH);
    }
};

// Calls `body(start, std::integral_constant<int, N>)` for blocks of 4, 2 and 1, `count` in all.
template <class Body> void blocks(long count, Body body) {
    long start = 0;
    for (; start + 4 <= count; start += 4) body(start, std::integral_constant<int, 4>());
    if (count & 2) body(start, std::integral_constant<int, 2>()), start += 2;
    if (count & 1) body(start, std::integral_constant<int, 1>());
}

std::vector<long> tap_offsets(const Shape &s) {
    std::vector<long> offsets;
    for (long c = 0; c < s.channels; ++c)
        for (long i = 0; i < s.kernel_h; ++i)
            for (long j = 0; j < s.kernel_w; ++j)
                offsets.push_back((c * s.height + i * s.dilation_h) * s.width + j * s.dilation_w);
    return offsets;
}

// Calls `move(x, row value)` for each element of a row of unfolded x.
template <class Float, class Move>
void unfolded(const Tile &tile, Float *x, long stride, Row &row, Move move) {
    for (const Run &run : tile.runs) {
        Float *from = x + run.x;
        float *to = row.values() + run.start;
        if (stride == 1)
            for (int k = 0; k < run.length; ++k) move(from[k], to[k]);
        else
            for (int k = 0; k < run.length; ++k) move(from[k * stride], to[k]);
    }
}

void unfold(const Shape &s, const Tile &tile, const float *x, const std::vector<long> &offsets,
            long first, long taps, Row *rows) {
    for (long t = 0; t < taps; ++t)
        unfolded(tile, x + offsets[first + t], s.stride_w, rows[t],
                 [](float from, float &to) { to = from; });
}

// y -= sum |x - w| over `taps` taps; `w` has `pitch` taps for each output channel.
template <int OUTPUTS, int V>
void distances(const Row *x, const float *w, long pitch, long taps, long v, Row *y) {
    constexpr int SIGN = int(1u << 31);
    Vector sums[OUTPUTS][V];
    for (int o = 0; o < OUTPUTS; ++o)
        for (int i = 0; i < V; ++i) sums[o][i] = y[o].at[v + i];
    for (long t = 0; t < taps; ++t)
        for (int o = 0; o < OUTPUTS; ++o)
            for (int i = 0; i < V; ++i)
                sums[o][i] -= Vector(Bits(x[t].at[v + i] - w[o * pitch + t]) & ~SIGN);
    for (int o = 0; o < OUTPUTS; ++o)
        for (int i = 0; i < V; ++i) y[o].at[v + i] = sums[o][i];
}

// `d`, but from -1 to 1.
inline Vector clip(Vector d) {
    const Vector one = Vector{} + 1;
#if defined(__AVX512DQ__)
    // The smaller magnitude with the sign of d, in one instruction: the loop is a quarter faster.
    return Vector(_mm512_range_ps(__m512(d), __m512(one), 2));
#else
    d = d > -one ? d : -one;
    return d < one ? d : one;
#endif
}

// x becomes sum clip(w - x, -1, 1) * dy over all output channels, for some taps in a row.
template <int T, int V>
void pulls(Row *x, const float *w, long pitch, long outputs, long v, const Row *dy) {
    Vector values[T][V], sums[T][V];
    for (int t = 0; t < T; ++t)
        for (int i = 0; i < V; ++i) values[t][i] = x[t].at[v + i], sums[t][i] = Vector{};
    for (long o = 0; o < outputs; ++o)
        for (int t = 0; t < T; ++t)
            for (int i = 0; i < V; ++i)
                sums[t][i] += clip(w[o * pitch + t] - values[t][i]) * dy[o].at[v + i];
    for (int t = 0; t < T; ++t)
        for (int i = 0; i < V; ++i) x[t].at[v + i] = sums[t][i];
}

// y (images, outputs, out_h, out_w) = -sum |x - w|; w is (outputs, channels, kernel_h, kernel_w).
extern "C" void distance(const Shape *shape, int threads, const float *x, const float *w,
                         float *y) {
    const Shape &s = *shape;
    const std::vector<long> offsets = tap_offsets(s);
    const long positions = s.images * s.area(), area = s.area(), all = s.taps();
#pragma omp parallel num_threads(threads)
    {
        std::vector<Row> rows(std::min<long>(TAPS, all)), sums(s.outputs);
#pragma omp for schedule(static)
        for (long first = 0; first < positions; first += TILE) {
            const Tile tile(s, first, std::min(first + TILE, positions));
            std::fill(sums.begin(), sums.end(), Row{});
            for (long tap = 0; tap < all; tap += TAPS) {
                const long taps = std::min<long>(TAPS, all - tap);
                unfold(s, tile, x, offsets, tap, taps, rows.data());
                blocks(s.outputs, [&](long o, auto outputs) {
                    blocks(tile.vectors, [&](long v, auto vectors) {
                        distances<outputs, vectors>(rows.data(), w + o * all + tap, all, taps, v,
                                                    &sums[o]);
                    });
                });
            }
            for (long o = 0; o < s.outputs; ++o)
                for (const Run &run : tile.runs)
                    std::copy_n(sums[o].values() + run.start, run.length, y + run.y + o * area);
        }
    }
}

// dx (as x; zero on entry) = sum clip(w - x, -1, 1) * dy over what an input is read for.
extern "C" void pull(const Shape *shape, int threads, const float *x, const float *w,
                     const float *dy, float *dx) {
    const Shape &s = *shape;
    const std::vector<long> offsets = tap_offsets(s);
    const long area = s.area(), all = s.taps();
#pragma omp parallel num_threads(threads)
    {
        std::vector<Row> rows(std::min<long>(TAPS, all)), slopes(s.outputs);
        // Windows overlap within an image alone: threads that share none never write the same dx.
#pragma omp for schedule(static)
        for (int part = 0; part < threads; ++part) {
            const long end = s.images * (part + 1) / threads * area;
            for (long first = s.images * part / threads * area; first < end; first += TILE) {
                const Tile tile(s, first, std::min(first + TILE, end));
                for (long o = 0; o < s.outputs; ++o)
                    for (const Run &run : tile.runs)
                        std::copy_n(dy + run.y + o * area, run.length,
                                    slopes[o].values() + run.start);
                for (long tap = 0; tap < all; tap += TAPS) {
                    const long taps = std::min<long>(TAPS, all - tap);
                    unfold(s, tile, x, offsets, tap, taps, rows.data());
                    blocks(taps, [&](long t, auto some) {
                        blocks(tile.vectors, [&](long v, auto vectors) {
                            // the values have to stay in registers too: at most two vectors
                            constexpr int step = vectors > 2 ? 2 : vectors;
                            for (long i = v; i < v + vectors; i += step)
                                pulls<some, step>(&rows[t], w + tap + t, all, s.outputs, i,
                                                  slopes.data());
                        });
                    });
                    for (long t = 0; t < taps; ++t)
                        unfolded(tile, dx + offsets[tap + t], s.stride_w, rows[t],
                                 [](float &to, float from) { to += from; });
                }
            }
        }
    }
}
