// Search for a small network of K-input LUTs whose output stays within bounds for every input.
//
// The specification is a Boolean relation: any code from lo(x) to hi(x) will do. A step picks a
// node, inverts it, and simulates what depends on it over all inputs: where the output stays legal,
// the node's value does not matter. With these exact don't-cares the node is expressed by other
// signals; changes that cost nothing are taken, and dearer ones as in simulated annealing. Every
// state is legal for all inputs, so that whatever is found is proven by exhaustion.
//
// stdin:  a table of words, see read_specification(); stdout: the network; stderr: "progress PERCENT COST".
// The result depends on stdin alone: no clock, no floating point.
#include "moves.hpp"

#include <cstdio>
#include <cstdlib>

struct Schedule {
    long hot, cool;     // chance of one more tenth of a LUT, of 65,536, at the start and the end
    long steps;
};

long read() {
    long number;
    if (std::scanf("%ld", &number) != 1) {
        std::fprintf(stderr, "search: the specification ends early\n");
        std::exit(2);
    }
    return number;
}

Schedule read_specification() {
    // header
    inputs = int(read());
    outputs = int(read());
    width = int(read());
    level_limit = int(read());
    monotone = read() != 0;
    Schedule schedule{};
    schedule.hot = read();
    schedule.cool = read();
    schedule.steps = read();
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
    return schedule;
}

void search(const Schedule &schedule) {
    best = {nodes, driver};
    const int wanted = level_limit;
    const int deepest = std::max(wanted, *std::max_element(level.begin(), level.end()));
    for (long done = 0; done < schedule.steps && !order.empty(); ++done) {
        if (done % (schedule.steps / 100 + 1) == 0) {
            long percent = done * 100 / schedule.steps;
            heat = int(schedule.hot + (schedule.cool - schedule.hot) * percent / 100);
            late = int(LATE + (LATER - LATE) * percent / 100);
            // the limit comes down slowly: half of the time is left when it is reached
            if (wanted)
                level_limit = int(wanted + (deepest - wanted) * std::max(0L, 50 - percent) / 50);
            weigh_best();
            std::fprintf(stderr, "progress %ld %ld\n", percent, best_cost);
            std::fflush(stderr);
        } else if (current > best_cost + std::max(2L * UNIT + 50, best_cost / 20)) {
            restore_best();
        }
        step();
    }
    restore_best();
}

void write_network() {
    std::printf("%zu\n", order.size());
    for (int signal : order) {
        std::printf("%d %d", signal, nodes[signal].count);
        for (int k = 0; k < nodes[signal].count; ++k) std::printf(" %d", nodes[signal].fanins[k]);
        std::printf(" %u\n", nodes[signal].truth);
    }
    for (int each : driver) std::printf("%d ", each);
    std::printf("\n");
}

int main() {
    const Schedule schedule = read_specification();
    trace();
    clean();
    simulate_all();
    if (!legal()) {
        std::fprintf(stderr, "search: the network to start from breaks the specification\n");
        return 3;
    }
    search(schedule);
    if (!legal()) {
        std::fprintf(stderr, "search: the result breaks the specification\n");
        return 4;
    }
    write_network();
    return 0;
}
