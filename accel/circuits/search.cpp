// Search for a small network of K-input LUTs whose output stays within bounds for every input.
//
// The specification is a Boolean relation: any code from lo(x) to hi(x) will do. A step picks a
// node, inverts it, and simulates what depends on it over all inputs: where the output stays legal,
// the node's value does not matter. With these exact don't-cares the node is expressed by other
// signals; changes that cost nothing are taken, and dearer ones as in simulated annealing. Every
// state is legal for all inputs, so that whatever is found is proven by exhaustion.
//
// stdin:  a table of words, see main(); stdout: the network; stderr: "progress PERCENT COST".
// The result depends on stdin alone: no clock, no floating point.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

using Word = uint64_t;

namespace {

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
constexpr int TRIES = 6;        // replacements tried per step that are legal

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
std::vector<int> unused;

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

struct State {
    std::vector<Node> nodes;
    std::vector<int> driver;
};

// Whether the signals tell the patterns of `on` from those of `off`; a truth table that does.
bool separates(const int *signals, int count, const Word *on, const Word *off, unsigned &truth) {
    truth = 0;
    unsigned used = 0;
    for (int i = 0; i < 1 << count; ++i) {
        Word any_on = 0, any_off = 0;
        for (int w = 0; w < words; ++w) {
            Word here = ~Word(0);
            for (int k = 0; k < count; ++k) {
                Word v = value[signals[k]][w];
                here &= i >> k & 1 ? v : ~v;
            }
            any_on |= here & on[w];
            any_off |= here & off[w];
        }
        if (any_on && any_off) return false;
        if (any_on) truth |= 1u << i;
        if (any_on || any_off) used |= 1u << i;
    }
    truth |= ~used & unsigned(rng.next() >> 20) & ((1ull << (1 << count)) - 1);
    return true;
}

// Patterns that signals do not tell apart yet, as the parts of `on` and `off` by their values.
struct Classes {
    std::vector<Word> on, off;
    int count = 0;

    void split(const int *signals, int size, const Word *all_on, const Word *all_off) {
        on.resize(size_t(words) << 4);
        off.resize(size_t(words) << 4);
        count = 0;
        for (int i = 0; i < 1 << size; ++i) {
            Word any_on = 0, any_off = 0;
            Word *to_on = &on[size_t(count) * words], *to_off = &off[size_t(count) * words];
            for (int w = 0; w < words; ++w) {
                Word here = ~Word(0);
                for (int k = 0; k < size; ++k) {
                    Word v = value[signals[k]][w];
                    here &= i >> k & 1 ? v : ~v;
                }
                any_on |= to_on[w] = here & all_on[w];
                any_off |= to_off[w] = here & all_off[w];
            }
            count += any_on && any_off;
        }
    }

    bool told_apart_by(int signal) const {
        const Word *v = value[signal].data();
        for (int c = 0; c < count; ++c) {
            const Word *p = &on[size_t(c) * words], *q = &off[size_t(c) * words];
            Word on1 = 0, on0 = 0, off1 = 0, off0 = 0;
            for (int w = 0; w < words; ++w) {
                on1 |= p[w] & v[w];
                on0 |= p[w] & ~v[w];
                off1 |= q[w] & v[w];
                off0 |= q[w] & ~v[w];
            }
            if ((on1 && off1) || (on0 && off0)) return false;
        }
        return true;
    }
};

long current, best_cost;
State best;
std::vector<Word> care, on_set, off_set;
std::vector<int> changed, divisors;
int epoch;
int heat;       // of 65,536: chance of one more tenth of a LUT

long tolerance() {
    long extra = 0;
    while (int(rng.next() >> 48) < heat && extra < 3 * UNIT) extra += UNIT / 10;
    return extra;
}

void accept() {
    clean();
    simulate_all();
    current = cost();
    if (current < best_cost) {
        best_cost = current;
        best = {nodes, driver};
    }
}

void restore_best() {
    nodes = best.nodes;
    driver = best.driver;
    value.resize(nodes.size());
    flipped.resize(nodes.size());
    changed.resize(nodes.size());
    trace();
    simulate_all();
    current = cost();
}

// Costs under new weights.
void weigh_best() {
    State now = {nodes, driver};
    restore_best();
    best_cost = current;
    nodes = now.nodes;
    driver = now.driver;
    value.resize(nodes.size(), std::vector<Word>(words));
    flipped.resize(nodes.size(), std::vector<Word>(words));
    changed.resize(nodes.size());
    trace();
    simulate_all();
    current = cost();
}

// Change a node if that is not too dear; else leave everything as it was.
bool change(int signal, const int *fanins, int count, unsigned truth) {
    Node before = nodes[signal];
    Node &node = nodes[signal];
    std::copy(fanins, fanins + count, node.fanins);
    node.count = count;
    node.truth = truth;
    tidy(node);
    trace();
    if (cost() <= current + tolerance()) {
        if (!monotone) {
            accept();
            return true;
        }
        simulate_all();
        if (!steps_wrong()) {
            accept();
            return true;
        }
    }
    nodes[signal] = before;
    trace();
    if (monotone) simulate_all();
    return false;
}

// A node that nothing uses.
int spare() {
    for (int each = inputs + 1; each < int(nodes.size()); ++each)
        if (position[each] < 0) return each;
    nodes.push_back({});
    value.emplace_back(words);
    flipped.emplace_back(words);
    changed.push_back(0);
    position.push_back(-1);
    return int(nodes.size()) - 1;
}

// Give a node a copy of its own of a shared fanin: dearer now, and free to go its own way.
void unshare(int signal) {
    if (nodes[signal].count == 0) return;
    int k = rng.below(nodes[signal].count), shared = nodes[signal].fanins[k];
    if (!is_node(shared) || references[shared] < 2) return;
    int copy = spare();
    nodes[copy] = nodes[shared];
    nodes[signal].fanins[k] = copy;
    trace();
    if (cost() <= current + tolerance()) {
        simulate(copy, value, nullptr, 0);
        current = cost();
    } else {
        nodes[signal].fanins[k] = shared;
        trace();
    }
}

// Put a new node, a function of signals picked at random, in place of some fanins.
void insert(int signal, const int *kept, int count, int highest) {
    static Classes classes;
    classes.split(kept, count, on_set.data(), off_set.data());
    // it shall tell apart what the others do not: equal to the node there, or inverse
    static std::vector<Word> ones, zeros;
    ones.assign(words, 0);
    zeros.assign(words, 0);
    for (int c = 0; c < classes.count; ++c) {
        bool inverse = rng.below(4) == 0;
        for (int w = 0; w < words; ++w) {
            Word p = classes.on[size_t(c) * words + w], q = classes.off[size_t(c) * words + w];
            ones[w] |= inverse ? q : p;
            zeros[w] |= inverse ? p : q;
        }
    }
    static std::vector<int> low_enough;
    low_enough.clear();
    for (int each : divisors)
        if (level[each] < highest) low_enough.push_back(each);
    int size = int(low_enough.size());
    for (int attempt = 0; attempt < 4 * TRIES; ++attempt) {
        int fanins[4], have = 0;
        for (int j = 0; j < width; ++j) {
            int each = low_enough[rng.below(size)];
            if (std::find(fanins, fanins + have, each) == fanins + have) fanins[have++] = each;
        }
        unsigned truth;
        if (!separates(fanins, have, ones.data(), zeros.data(), truth)) continue;
        int made = spare();
        nodes[made].count = have;
        std::copy(fanins, fanins + have, nodes[made].fanins);
        nodes[made].truth = truth;
        tidy(nodes[made]);
        simulate(made, value, nullptr, 0);
        int with[4];
        std::copy(kept, kept + count, with);
        with[count] = made;
        if (separates(with, count + 1, on_set.data(), off_set.data(), truth))
            change(signal, with, count + 1, truth);
        return;
    }
}

void find_care(int signal) {
    ++epoch;
    changed[signal] = epoch;
    for (int w = 0; w < words; ++w) flipped[signal][w] = ~value[signal][w];
    for (size_t i = position[signal] + 1; i < order.size(); ++i) {
        int each = order[i];
        bool reached = false;
        for (int k = 0; k < nodes[each].count; ++k)
            reached |= changed[nodes[each].fanins[k]] == epoch;
        if (reached) {
            simulate(each, flipped, &changed, epoch);
            changed[each] = epoch;
        }
    }
    find_illegal([](int b) {
        int signal = driver[b];
        return (changed[signal] == epoch ? flipped : value)[signal].data();
    }, care);
    for (int w = 0; w < words; ++w) {
        on_set[w] = value[signal][w] & care[w];
        off_set[w] = ~value[signal][w] & care[w];
    }
}

void step() {
    int signal = order[rng.below(int(order.size()))];
    if (level_limit && rng.below(2))    // rather one on a way that is too long
        for (int i = 0; i < 8 && level[signal] + behind[signal] <= level_limit; ++i)
            signal = order[rng.below(int(order.size()))];
    if (rng.below(64) == 0) return unshare(signal);
    find_care(signal);
    bool any_on = false, any_off = false;
    for (int w = 0; w < words; ++w) {
        any_on |= on_set[w] != 0;
        any_off |= off_set[w] != 0;
    }
    if (!any_on || !any_off) {
        change(signal, nullptr, 0, any_on);
        return;
    }
    int highest = 1 << 30;
    if (level_limit) {      // not too deep, or sometimes no deeper than it is already
        highest = level_limit - behind[signal] - 1;
        if (highest < 0 || rng.below(2)) highest = std::max(highest, level[signal] - 1);
    }
    divisors.clear();
    for (int i = 1; i <= inputs; ++i) divisors.push_back(i);
    for (int each : order)
        if (changed[each] != epoch && level[each] <= highest) divisors.push_back(each);

    static std::vector<int> alike;
    alike.clear();
    for (int each : divisors) {
        bool same = true, inverse = true;
        for (int w = 0; w < words && (same || inverse); ++w) {
            Word difference = (value[each][w] ^ value[signal][w]) & care[w];
            same &= difference == 0;
            inverse &= difference == care[w];
        }
        if (same) alike.push_back(2 * each);
        if (inverse) alike.push_back(2 * each + 1);
    }
    if (!alike.empty()) {
        int choice = alike[rng.below(int(alike.size()))], fanin = choice / 2;
        if (change(signal, &fanin, 1, choice & 1 ? 1 : 2)) return;
    }

    // Keep some fanins and look for others in place of the rest.
    const Node node = nodes[signal];
    if (node.count == 0) return;
    int kept[4], count = 0, dropped = rng.below(node.count), lost = node.fanins[dropped];
    for (int k = 0; k < node.count; ++k)
        if (k != dropped) kept[count++] = node.fanins[k];
    if (count > 1 && rng.below(4) == 0) {
        int also = rng.below(count);
        std::copy(kept + also + 1, kept + count, kept + also);
        --count;
    }
    if (count < width && highest > 0 && rng.below(8) == 0) return insert(signal, kept, count, highest);
    unsigned truth;
    if (separates(kept, count, on_set.data(), off_set.data(), truth)
        && change(signal, kept, count, truth))
        return;
    static Classes classes;
    int room = width - count, tries = 0, size = int(divisors.size());
    auto complete = [&](int have) {     // with one more signal
        classes.split(kept, have, on_set.data(), off_set.data());
        int start = rng.below(size);
        for (int i = 0; i < size && tries < TRIES; ++i) {
            int each = divisors[(start + i) % size];
            if ((each == lost && have == count && rng.below(8))
                || std::find(kept, kept + have, each) != kept + have
                || !classes.told_apart_by(each))
                continue;
            kept[have] = each;
            ++tries;
            if (separates(kept, have + 1, on_set.data(), off_set.data(), truth)
                && change(signal, kept, have + 1, truth))
                return true;
        }
        return false;
    };
    if (room < 1 || complete(count)) return;
    for (int more = 1; more < room; ++more) {       // some at random, then one that completes
        for (int i = 0; i < 2; ++i) {
            tries = TRIES - 2;
            int have = count;
            for (int j = 0; j < more; ++j) {
                int each = divisors[rng.below(size)];
                if (j == 0 && i == 0 && is_node(lost) && nodes[lost].count)
                    each = nodes[lost].fanins[rng.below(nodes[lost].count)];
                if (std::find(kept, kept + have, each) == kept + have)
                    kept[have++] = each;
            }
            if (complete(have)) return;
        }
    }
}

long read() {
    long number;
    if (std::scanf("%ld", &number) != 1) {
        std::fprintf(stderr, "search: the specification ends early\n");
        std::exit(2);
    }
    return number;
}

}  // namespace

int main() {
    // header
    inputs = int(read());
    outputs = int(read());
    width = int(read());
    level_limit = int(read());
    monotone = read() != 0;
    long hot = read(), cool = read();
    long steps = read();
    rng.state = Word(read()) * 0x9E3779B97F4A7C15ull | 1;
    long patterns = 1L << inputs;
    words = int((patterns + 63) / 64);
    last_word = patterns % 64 ? (Word(1) << patterns % 64) - 1 : ~Word(0);
    price.resize(1u << (1u << width));
    for (int &each : price) each = int(read());
    // which outputs are inverted to compare; lo, hi and the step to the next pattern for each one
    invert.resize(outputs);
    for (Word &each : invert) each = read() ? ~Word(0) : 0;
    low.assign(outputs, std::vector<Word>(words));
    high = low;
    rises.assign(words, 0);
    falls = rises;
    for (long x = 0; x < patterns; ++x) {
        long lo = read(), hi = read(), direction = read();
        for (int b = 0; b < outputs; ++b) {
            low[b][x / 64] |= Word(lo >> b & 1) << x % 64;
            high[b][x / 64] |= Word(hi >> b & 1) << x % 64;
        }
        rises[x / 64] |= Word(direction & 1) << x % 64;
        falls[x / 64] |= Word(direction >> 1 & 1) << x % 64;
    }
    // the patterns of each input, then the network to start from
    nodes.resize(inputs + 1);
    value.assign(inputs + 1, std::vector<Word>(words));
    for (long x = 0; x < patterns; ++x) {
        long code = read();
        for (int i = 0; i < inputs; ++i) value[i + 1][x / 64] |= Word(code >> i & 1) << x % 64;
    }
    for (long count = read(); count > 0; --count) {
        Node node{};
        node.count = int(read());
        for (int k = 0; k < node.count; ++k) node.fanins[k] = int(read());
        node.truth = unsigned(read());
        nodes.push_back(node);
    }
    value.resize(nodes.size(), std::vector<Word>(words));
    flipped = value;
    changed.assign(nodes.size(), 0);
    driver.resize(outputs);
    for (int &each : driver) each = int(read());
    care.assign(words, 0);
    on_set = off_set = care;

    trace();
    clean();
    simulate_all();
    if (!legal()) {
        std::fprintf(stderr, "search: the network to start from breaks the specification\n");
        return 3;
    }
    best = {nodes, driver};
    const int wanted = level_limit;
    const int deepest = std::max(wanted, *std::max_element(level.begin(), level.end()));
    for (long done = 0; done < steps && !order.empty(); ++done) {
        if (done % (steps / 100 + 1) == 0) {
            long percent = done * 100 / steps;
            heat = int(hot + (cool - hot) * percent / 100);
            late = int(LATE + (LATER - LATE) * percent / 100);
            // the limit comes down slowly: half of the time is left when it is reached
            if (wanted) level_limit = int(wanted + (deepest - wanted) * std::max(0L, 50 - percent) / 50);
            weigh_best();
            std::fprintf(stderr, "progress %ld %ld\n", percent, best_cost);
            std::fflush(stderr);
        } else if (current > best_cost + std::max(2L * UNIT + 50, best_cost / 20)) {
            restore_best();
        }
        step();
    }
    restore_best();
    if (!legal()) {
        std::fprintf(stderr, "search: the result breaks the specification\n");
        return 4;
    }
    std::printf("%zu\n", order.size());
    for (int signal : order) {
        std::printf("%d %d", signal, nodes[signal].count);
        for (int k = 0; k < nodes[signal].count; ++k) std::printf(" %d", nodes[signal].fanins[k]);
        std::printf(" %u\n", nodes[signal].truth);
    }
    for (int each : driver) std::printf("%d ", each);
    std::printf("\n");
    return 0;
}
