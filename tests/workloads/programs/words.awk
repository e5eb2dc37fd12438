# Counts words and pairs of neighbours, as scripts over logs do.
{
    for (i = 1; i <= NF; i++) {
        count[$i]++
        if (i > 1)
            pairs[$(i - 1) " " $i]++
        line[NR % 1000] = line[NR % 1000] substr($i, 1, 2)
    }
    line[NR % 1000] = toupper(line[NR % 1000])
    if (length(line[NR % 1000]) > 2000)
        line[NR % 1000] = ""
}
END {
    for (word in count) {
        words++
        if (count[word] > most)
            most = count[word]
    }
    for (pair in pairs)
        sum += length(pair) * pairs[pair]
    print words, most, sum
}
