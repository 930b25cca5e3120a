// A network of LUTs, the relation that its output must keep, and its simulation over all inputs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

using Word = uint64_t;

struct Random {     // xorshift64* (Vigna 2016)
    Word state;
    Word next() {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return state * 0x2545F4914F6CDD1Dull;
    }
    int below(int bound) { return int((next() >> 33) % unsigned(bound)); }
};

struct Node {
    int fanins[4];
    int count;
    unsigned truth;     // bit i: value where the fanins spell i, first fanin lowest
};

constexpr int UNIT = 100;       // cost of a LUT; costs are fractions of it
constexpr int LATE = 100;       // cost of a level too many, per output, at the start
constexpr int LATER = 500;      // and at the end

int inputs, outputs, words, width, level_limit;
int late;                       // cost of a level too many, by now
Word last_word;                 // the patterns that exist in the last word
bool monotone;
std::vector<int> price;         // by truth table of `width` inputs
Random rng;

// Signals: 0 is constant 0; 1 to `inputs` are the inputs; nodes follow.
std::vector<Node> nodes;
std::vector<std::vector<Word>> value, flipped;
std::vector<int> driver;        // of each output
std::vector<Word> invert;       // all ones for the sign, so that codes compare as unsigned
std::vector<std::vector<Word>> low, high;
std::vector<Word> rises, falls; // must pattern x+1 be at least, at most pattern x?

std::vector<int> order, position, references, level, behind;

bool is_node(int signal) { return signal > inputs; }

void evaluate(const Node &node, const Word *const *in, Word *out) {
    for (int w = 0; w < words; ++w) {
        Word part[16];
        int size = 1 << node.count;
        for (int i = 0; i < size; ++i) part[i] = node.truth >> i & 1 ? ~Word(0) : 0;
        for (int k = 0; k < node.count; ++k) {
            Word select = in[k][w];
            size >>= 1;
            for (int i = 0; i < size; ++i)
                part[i] = part[2 * i] ^ (select & (part[2 * i] ^ part[2 * i + 1]));
        }
        out[w] = part[0];
    }
}

// Live nodes in topological order, and from it levels and the nodes behind each.
void trace() {
    int count = int(nodes.size());
    order.clear();
    position.assign(count, -1);
    references.assign(count, 0);
    level.assign(count, 0);
    behind.assign(count, 0);
    static std::vector<std::pair<int, int>> stack;
    for (int output : driver) {
        ++references[output];
        if (!is_node(output) || position[output] != -1) continue;
        stack.push_back({output, 0});
        position[output] = -2;
        while (!stack.empty()) {
            auto &[signal, next] = stack.back();
            Node &node = nodes[signal];
            if (next < node.count) {
                int fanin = node.fanins[next++];
                if (is_node(fanin) && position[fanin] == -1) {
                    position[fanin] = -2;
                    stack.push_back({fanin, 0});
                }
            } else {
                int highest = 0;
                for (int k = 0; k < node.count; ++k) {
                    ++references[node.fanins[k]];
                    highest = std::max(highest, level[node.fanins[k]]);
                }
                level[signal] = highest + 1;
                position[signal] = int(order.size());
                order.push_back(signal);
                stack.pop_back();
            }
        }
    }
    for (size_t i = order.size(); i-- > 0;)
        for (int k = 0; k < nodes[order[i]].count; ++k) {
            int &depth = behind[nodes[order[i]].fanins[k]];
            depth = std::max(depth, behind[order[i]] + 1);
        }
}

int truth_over_all(const Node &node) {      // as if it had `width` fanins
    unsigned truth = node.truth;
    for (int k = node.count; k < width; ++k) truth |= truth << (1u << k);
    return int(truth & ((1u << (1u << width)) - 1));
}

long size() {
    long sum = 0;
    for (int signal : order) sum += price[truth_over_all(nodes[signal])] + nodes[signal].count;
    return sum;
}

int excess() {      // of levels
    int sum = 0;
    if (level_limit)
        for (int output : driver) sum += std::max(0, level[output] - level_limit);
    return sum;
}

long cost() { return size() + late * excess(); }

void simulate(int signal, std::vector<std::vector<Word>> &into, const std::vector<int> *changed,
              int epoch) {
    const Word *in[4];
    for (int k = 0; k < nodes[signal].count; ++k) {
        int fanin = nodes[signal].fanins[k];
        in[k] = changed && (*changed)[fanin] == epoch ? flipped[fanin].data()
                                                       : value[fanin].data();
    }
    evaluate(nodes[signal], in, into[signal].data());
}

void simulate_all() {
    for (int signal : order) simulate(signal, value, nullptr, 0);
}

// Patterns whose output code is not allowed. `at` gives the outputs' words.
template <class At> void find_illegal(At at, std::vector<Word> &illegal) {
    for (int w = 0; w < words; ++w) {
        Word above = 0, below = 0;
        for (int b = 0; b < outputs; ++b) {
            Word bit = at(b)[w] ^ invert[b], lo = low[b][w], hi = high[b][w];
            above = (bit & ~hi) | (~(bit ^ hi) & above);
            below = (~bit & lo) | (~(bit ^ lo) & below);
        }
        illegal[w] = above | below;
    }
    illegal[words - 1] &= last_word;
}

// Pairs of neighbours that step the wrong way, marked at the first of the two.
bool steps_wrong() {
    for (int w = 0; w < words; ++w) {
        Word greater = 0, less = 0;
        for (int b = 0; b < outputs; ++b) {
            const std::vector<Word> &code = value[driver[b]];
            Word here = code[w] ^ invert[b];
            Word next = here >> 1;
            if (w + 1 < words) next |= (code[w + 1] ^ invert[b]) << 63;
            greater = (here & ~next) | (~(here ^ next) & greater);
            less = (~here & next) | (~(here ^ next) & less);
        }
        if ((greater & rises[w]) | (less & falls[w])) return true;
    }
    return false;
}

bool legal() {
    static std::vector<Word> illegal;
    illegal.assign(words, 0);
    find_illegal([](int b) { return value[driver[b]].data(); }, illegal);
    for (Word each : illegal)
        if (each) return false;
    return !monotone || !steps_wrong();
}

void drop_fanin(Node &node, int k) {    // which is 0, or does not matter
    unsigned truth = 0;
    int to = 0;
    for (int i = 0; i < 1 << node.count; ++i)
        if (!(i >> k & 1)) truth |= (node.truth >> i & 1) << to++;
    node.truth = truth;
    std::copy(node.fanins + k + 1, node.fanins + node.count, node.fanins + k);
    --node.count;
}

bool depends(const Node &node, int k) {
    for (int i = 0; i < 1 << node.count; ++i)
        if (!(i >> k & 1) && ((node.truth >> i ^ node.truth >> (i | 1 << k)) & 1)) return true;
    return false;
}

void invert_fanin(Node &node, int k) {
    unsigned truth = 0;
    for (int i = 0; i < 1 << node.count; ++i)
        if (node.truth >> i & 1) truth |= 1u << (i ^ 1 << k);
    node.truth = truth;
}

// Fewest fanins: no constants, no signal twice, none that does not matter.
void tidy(Node &node) {
    for (int k = 0; k < node.count; ++k) {
        int same = 0;
        while (node.fanins[same] != node.fanins[k]) ++same;
        if (same < k) {
            unsigned truth = 0;
            for (int i = 0; i < 1 << node.count; ++i) {
                int alike = (i & ~(1 << k)) | (i >> same & 1) << k;
                truth |= (node.truth >> alike & 1) << i;
            }
            node.truth = truth;
        }
        if (same < k || node.fanins[k] == 0 || !depends(node, k)) {
            drop_fanin(node, k);
            k = -1;     // another one may not matter any more
        }
    }
}

void replace(int signal, int by, bool inverted) {
    for (int reader : order)
        for (int k = 0; k < nodes[reader].count; ++k)
            if (nodes[reader].fanins[k] == signal) {
                nodes[reader].fanins[k] = by;
                if (inverted) invert_fanin(nodes[reader], k);
            }
    if (!inverted)
        for (int &output : driver)
            if (output == signal) output = by;
}

// Take away constants, buffers and inverters, which the nodes around them take in.
void clean() {
    for (bool again = true; again;) {
        again = false;
        for (int signal : std::vector<int>(order)) {
            Node &node = nodes[signal];
            tidy(node);
            bool constant = node.count == 0, unary = node.count == 1;
            if (constant && !(node.truth & 1)) {
                replace(signal, 0, false);
                again = true;
            } else if (unary && (node.truth & 3) == 2) {
                replace(signal, node.fanins[0], false);
                again = true;
            } else if ((constant || unary) && references[signal] > 0) {
                // set or inverted: outputs keep it
                bool read = false;
                for (int reader : order)
                    for (int k = 0; k < nodes[reader].count; ++k)
                        read |= nodes[reader].fanins[k] == signal;
                if (read) {
                    replace(signal, unary ? node.fanins[0] : 0, true);
                    again = true;
                }
            }
        }
        trace();
    }
}
