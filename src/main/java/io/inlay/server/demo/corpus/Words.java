package io.inlay.server.demo.corpus;

import java.util.LinkedHashSet;
import java.util.List;
import java.util.Random;

/** The nouns, names and other words of the small world, and how to draw from them. */
public final class Words {
    public static final List<String> NAMES = list("""
            Mara Oskar Lena Ivo Nora Felix Greta Tomas Ada Emil Clara Hugo Ines Jonas Karla Leo Mira Nils Olga Paul Rosa Simon Tilda Umar Vera
            Willem Yara Zeno Alma Boris Celia Dario Elsa Fabio Gina Henrik Irma Jakob Kira Lars Mona Noel Otto Petra Quinn Rita Sven Tessa Ugo
            Viola Wanda Xaver Yusuf Zora Anton Berta Cyril Dora Edgar Frida Georg Hanna Igor Judit Kurt Lidia Marek Nadia Omar Pilar Rafael
            Selma Tariq Ulla Viktor Wilma Amir Bianca Carlo Diana Enzo Flora Gustav Helga Ilse Juri Kamal Livia Milan Nina Oleg Paula Ruben
            Sofia Timo Ursula Vito Yann Zita Aron Blanka Cosmo Delia Erik Fiona Goran Hilda Isak Jana Klaus Luisa Matti Norma Orson Pia Remo
            Stella Tibor Una Valerie Walter""");
    public static final List<String> SURNAMES = list("""
            Olsen Brandt Costa Duval Eriksen Fischer Garcia Horvat Ivanov Jansen Keller Lindgren Moreau Novak Ortega Petrov Quist Rossi Sato
            Tanaka Urban Vogel Weber Young Zeller Baker Carter Dixon Ellis Foster Grant Harper Irving Jordan Knight Lawson Mason Nolan Owens
            Parker""");
    public static final List<String> TOWNS = list("""
            Lyon Oslo Graz Turin Bergen Malaga Porto Krakow Leeds Bruges Ghent Basel Bonn Siena Parma Split Zadar Varna Riga Tartu Turku Umea
            Malmo Odense Aarhus Lund Delft Breda Arnhem Liege Namur Reims Tours Nantes Brest Nice Genoa Bari Lecce Pisa Trento Linz Salzburg
            Brno Pilsen Kosice Szeged Pecs Cluj Sibiu Plovdiv Corfu Patras Cadiz Leon Toledo Bilbao Vigo Braga Faro Cork Galway Derby Exeter
            Truro Perth Dundee Ulm Mainz Kassel Trier Kiel Bremen Dresden Erfurt Gotha Lucerne Bern Lugano Aosta""");
    public static final List<String> THINGS = list("""
            lamp kite drum bell rope coin ring brush clock candle basket bottle ladder hammer mirror pencil ticket wagon blanket button carpet
            compass cushion feather flute guitar helmet jacket kettle lantern magnet marble needle paddle pillow puzzle ribbon rocket saddle
            scarf shovel spoon stamp statue sword teapot trumpet umbrella violin wallet whistle anchor apron arrow badge barrel belt bench
            book boot bowl box bucket camera card chain chair chest cloak comb crown cup curtain desk dish doll fan flag fork frame glove
            hat jar jug key knife letter lock map mask medal mug net notebook oar pan pipe plate pot purse radio ruler sack sail scissors
            shell shield shirt shoe sled stool stove table tent tool towel toy tray vase watch wheel""");
    public static final List<String> PARTS = list("""
            pump valve motor fuse cable filter gear piston spring sensor switch nozzle hinge bolt bracket clamp coil crank dial engine flange
            gasket gauge handle hose lever meter panel pulley relay rivet rotor screw seal shaft socket spindle tank thermostat turbine washer
            axle battery beam bearing blade cylinder drill duct fitting grinder heater hook inverter jack joint keypad lens magneto manifold
            mount nut printer probe rack radiator rail regulator scanner shutter sleeve solenoid starter tap timer tube winch""");
    public static final List<String> ROOMS = list("""
            kitchen garden attic cellar hall garage library bathroom bedroom office stable barn tower workshop pantry balcony cabin school
            museum market station harbour bakery theatre church park forest shed studio classroom""");
    public static final List<String> COLOURS = list("red blue green yellow white black brown grey pink purple orange silver golden");
    public static final List<String> ANIMALS = list("""
            dog cat horse cow sheep goat duck goose hen fox wolf bear deer rabbit mouse owl crow eagle frog fish turtle pony donkey camel lion
            tiger monkey parrot snake bee""");
    public static final List<String> FOODS = list("""
            apples pears plums grapes cherries lemons bread butter cheese milk honey rice beans peas carrots onions potatoes tomatoes soup cake
            cookies noodles eggs salt sugar tea coffee juice nuts jam corn melons olives peppers spinach""");
    public static final List<String> JOBS = list("""
            baker teacher doctor farmer sailor painter driver singer writer cook nurse pilot tailor miller potter gardener carpenter plumber
            librarian engineer captain dentist builder fisher hunter judge dancer clerk guard postman""");
    public static final List<String> MATERIALS = list("wood glass stone iron copper paper leather wool silk clay brass wax tin rubber straw");
    public static final List<String> MOODS = list("happy sad tired proud angry calm afraid curious hungry lonely excited bored brave shy");
    public static final List<String> SIZES = list("small big tiny huge old new heavy light long short round flat clean dusty broken shiny");
    public static final List<String> DAYS = list("Monday Tuesday Wednesday Thursday Friday Saturday Sunday");
    public static final List<String> MONTHS = list(
            "January February March April May June July August September October November December");
    public static final List<String> NUMBERS = list("""
            zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen
            twenty""");
    private static final String CODE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ";

    private Words() {
    }

    private static List<String> list(String text) {
        return List.of(text.strip().split("\\s+"));
    }

    public static <T> T one(Random random, List<T> words) {
        return words.get(random.nextInt(words.size()));
    }

    /** {@code count} different words, in random order. */
    public static <T> List<T> some(Random random, List<T> words, int count) {
        if (count > words.size()) {
            throw new IllegalArgumentException("asked for " + count + " different words of " + words.size());
        }
        var chosen = new LinkedHashSet<T>();
        while (chosen.size() < count) {
            chosen.add(one(random, words));
        }
        return List.copyOf(chosen);
    }

    /** A letter and two digits, such as {@code K31}. */
    public static String code(Random random) {
        return CODE_LETTERS.charAt(random.nextInt(CODE_LETTERS.length())) + String.valueOf(random.nextInt(10)) + random.nextInt(10);
    }

    public static String fullName(Random random) {
        return one(random, NAMES) + " " + one(random, SURNAMES);
    }

    public static String article(String noun) {
        return ("aeiou".indexOf(noun.charAt(0)) >= 0 ? "an " : "a ") + noun;
    }

    public static String capital(String text) {
        return Character.toUpperCase(text.charAt(0)) + text.substring(1);
    }

    /** {@code a, b and c}. */
    public static String enumeration(List<String> words) {
        int last = words.size() - 1;
        return last == 0 ? words.getFirst() : String.join(", ", words.subList(0, last)) + " and " + words.get(last);
    }
}
