// Changes of the network that keep it legal: what a step of the search tries.
#pragma once

#include "network.hpp"

constexpr int TRIES = 6;        // replacements tried per step that are legal

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
