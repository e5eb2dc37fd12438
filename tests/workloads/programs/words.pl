# words.pl FILE: counts words, groups them by their letters, and rewrites the text with a regex.
use strict;
use warnings;

my (%count, %group);
my $length = 0;
open my $text, '<', $ARGV[0] or die "$ARGV[0]: $!";
while (my $line = <$text>) {
    for my $word (split ' ', $line) {
        $count{$word}++;
        push @{ $group{ join '', sort split //, lc $word } }, $word if $count{$word} == 1;
    }
    $line =~ s/\b(\w)(\w*)\b/\U$1\E$2/g;
    $length += length $line;
}
my @often = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
my @largest = sort { @$b <=> @$a || $a->[0] cmp $b->[0] } values %group;
print "$_ $count{$_}\n" for @often[0 .. 4];
print "@$_\n" for @largest[0 .. 2];
print "$length\n";
