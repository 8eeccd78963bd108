//! What a column holds, guessed from its declared type and its name, and plausible values of that kind.

use coderag_core::Random;
use coderag_sql::Value;

/// What the values of a column stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sense {
    Identifier,
    Flag,
    Date,
    Moment,
    Time,
    Year,
    Month,
    Day,
    Age,
    Money,
    Percent,
    Rating,
    Latitude,
    Longitude,
    Quantity,
    Number,
    FullName,
    FirstName,
    LastName,
    Email,
    Phone,
    City,
    Country,
    Region,
    Street,
    PostalCode,
    Company,
    Product,
    Gender,
    Status,
    Category,
    Department,
    Color,
    Language,
    Currency,
    Url,
    Code,
    Description,
    Label,
}

/// SQLite's affinity of a declared type (<https://www.sqlite.org/datatype3.html>, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Affinity {
    Integer,
    Text,
    Blob,
    Real,
    Numeric,
}

impl Affinity {
    pub(crate) fn of(data_type: &str) -> Self {
        let data_type = data_type.to_ascii_uppercase();
        let has = |names: &[&str]| names.iter().any(|name| data_type.contains(name));
        if has(&["INT"]) {
            Self::Integer
        } else if has(&["CHAR", "CLOB", "TEXT"]) {
            Self::Text
        } else if data_type.is_empty() || has(&["BLOB"]) {
            Self::Blob
        } else if has(&["REAL", "FLOA", "DOUB"]) {
            Self::Real
        } else {
            Self::Numeric
        }
    }

    /// A type of this affinity, for a table of our own.
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Self::Integer => "INTEGER",
            Self::Text => "TEXT",
            Self::Blob => "BLOB",
            Self::Real => "REAL",
            Self::Numeric => "NUMERIC",
        }
    }
}

impl Sense {
    /// Guesses from a column's name and declared type and the name of its table.
    pub(crate) fn of(column: &str, data_type: &str, table: &str) -> Self {
        let words = words(column);
        let has = |names: &[&str]| words.iter().any(|word| names.contains(&word.as_str()));
        let last = words.last().map_or("", String::as_str);
        let first = words.first().map_or("", String::as_str);
        let declared = data_type.to_ascii_uppercase();
        if declared.starts_with("BOOL")
            || declared == "BIT"
            || ["is", "has", "can", "was"].contains(&first)
            || has(&["flag", "active", "enabled"])
        {
            return Self::Flag;
        }
        if declared.starts_with("DATETIME") || declared.starts_with("TIMESTAMP") {
            return Self::Moment;
        }
        if declared.starts_with("DATE") {
            return Self::Date;
        }
        if declared.starts_with("TIME") {
            return Self::Time;
        }
        if declared.starts_with("YEAR") {
            return Self::Year;
        }
        let number = match Affinity::of(data_type) {
            Affinity::Integer | Affinity::Real => true,
            // `DATE` and the like are gone; `ENUM` and unknown words are not numbers.
            Affinity::Numeric => {
                ["NUM", "DEC", "MONEY", "SERIAL"].iter().any(|name| declared.contains(name))
            }
            Affinity::Text | Affinity::Blob => false,
        };
        let numeric = if has(&["year", "years"]) && last != "id" {
            Some(Self::Year)
        } else if has(&["month"]) {
            Some(Self::Month)
        } else if last == "day" {
            Some(Self::Day)
        } else if has(&["age"]) {
            Some(Self::Age)
        } else if has(&["latitude", "lat"]) {
            Some(Self::Latitude)
        } else if has(&["longitude", "lon", "lng", "long"]) {
            Some(Self::Longitude)
        } else if has(&["percent", "percentage", "rate", "ratio", "pct", "share", "discount"]) {
            Some(Self::Percent)
        } else if has(&["rating", "stars", "grade", "gpa"]) {
            Some(Self::Rating)
        } else if has(&[
            "price", "cost", "amount", "salary", "revenue", "total", "budget", "sales", "income",
            "balance", "fee", "payment", "profit", "donation", "earnings", "wage", "spend",
            "value",
        ]) {
            Some(Self::Money)
        } else if has(&[
            "quantity",
            "qty",
            "count",
            "stock",
            "units",
            "capacity",
            "attendance",
            "wins",
            "losses",
            "points",
            "goals",
            "score",
            "population",
            "visits",
            "visitors",
            "games",
            "rank",
            "position",
            "draws",
            "played",
            "number",
            "no",
            "num",
            "hours",
            "duration",
            "minutes",
        ]) {
            Some(Self::Quantity)
        } else {
            None
        };
        if number {
            return match numeric {
                Some(sense) => sense,
                None if ["id", "code", "key"].contains(&last) || words.is_empty() => {
                    Self::Identifier
                }
                None => Self::Number,
            };
        }
        let table = self::words(table);
        let about = |names: &[&str]| {
            table.iter().any(|word| {
                names.iter().any(|name| word == name || word.strip_suffix('s') == Some(name))
            })
        };
        let people = [
            "customer",
            "employee",
            "person",
            "people",
            "student",
            "patient",
            "user",
            "author",
            "actor",
            "player",
            "member",
            "teacher",
            "doctor",
            "artist",
            "driver",
            "client",
            "staff",
            "singer",
            "director",
            "donor",
            "volunteer",
            "instructor",
            "professor",
            "athlete",
            "researcher",
            "candidate",
        ];
        if has(&["email", "mail"]) {
            Self::Email
        } else if has(&["phone", "mobile", "fax", "tel", "telephone"]) {
            Self::Phone
        } else if has(&["url", "website", "link", "homepage"]) {
            Self::Url
        } else if has(&["fname", "firstname", "forename"])
            || has(&["first", "given"]) && last == "name"
        {
            Self::FirstName
        } else if has(&["lname", "lastname", "surname"])
            || has(&["last", "family"]) && last == "name"
        {
            Self::LastName
        } else if has(&["timestamp", "datetime"]) || has(&["created", "updated"]) {
            Self::Moment
        } else if has(&["date", "birthday", "dob", "deadline"]) {
            Self::Date
        } else if last == "time" {
            Self::Time
        } else if last == "id" {
            Self::Identifier
        } else if has(&["city", "town", "location", "venue", "hometown"]) {
            Self::City
        } else if has(&["country", "nation", "nationality"]) {
            Self::Country
        } else if has(&["state", "province", "region", "county", "district"]) {
            Self::Region
        } else if has(&["address", "street"]) {
            Self::Street
        } else if has(&["zip", "postal", "postcode", "zipcode"]) {
            Self::PostalCode
        } else if has(&["gender", "sex"]) {
            Self::Gender
        } else if has(&["status", "result", "outcome"]) {
            Self::Status
        } else if has(&[
            "type", "category", "genre", "class", "kind", "level", "group", "segment", "tier",
            "method",
        ]) {
            Self::Category
        } else if has(&["department", "dept", "division", "team", "faculty"]) {
            Self::Department
        } else if has(&["color", "colour"]) {
            Self::Color
        } else if has(&["language"]) {
            Self::Language
        } else if has(&["currency"]) {
            Self::Currency
        } else if has(&["company", "organization", "manufacturer", "vendor", "supplier", "brand"])
            || last == "name"
                && about(&["company", "companie", "vendor", "supplier", "brand", "store"])
        {
            Self::Company
        } else if has(&["product", "item"])
            || last == "name" && about(&["product", "item", "good", "menu", "part"])
        {
            Self::Product
        } else if has(&people) || last == "name" && about(&people) {
            Self::FullName
        } else if last == "name" && about(&["city", "citie", "town"]) {
            Self::City
        } else if last == "name" && about(&["country", "countrie", "nation"]) {
            Self::Country
        } else if last == "name" && about(&["department", "team"]) {
            Self::Department
        } else if has(&[
            "description",
            "notes",
            "note",
            "comment",
            "comments",
            "summary",
            "details",
        ]) {
            Self::Description
        } else if has(&["code", "sku", "isbn", "serial"]) {
            Self::Code
        } else {
            numeric.unwrap_or(Self::Label)
        }
    }

    /// A value; `row` counts from 0 and makes identifiers and addresses differ. With a text
    /// affinity numbers come out as text by themselves.
    pub(crate) fn value(self, row: usize, textual: bool, random: &mut Random) -> Value {
        let text = |text: &str| Value::Text(text.to_owned());
        let cents = |random: &mut Random, most: u64| {
            // Few enough values that some are equal.
            Value::Real(random.below(most * 4) as f64 / 4.0)
        };
        let integer = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        match self {
            Self::Identifier if textual => Value::Text(format!("A{}", 1001 + row)),
            Self::Identifier => integer(row as u64 + 1),
            Self::Flag if textual => text(pick(&["yes", "no"], random)),
            Self::Flag => integer(random.below(2)),
            Self::Date => Value::Text(date(random)),
            Self::Moment => Value::Text(format!("{} {}", date(random), time(random))),
            Self::Time => Value::Text(time(random)),
            Self::Year => integer(2012 + random.below(13)),
            Self::Month if textual => text(pick(&MONTHS, random)),
            Self::Month => integer(1 + random.below(12)),
            Self::Day if textual => text(pick(&DAYS, random)),
            Self::Day => integer(1 + random.below(28)),
            Self::Age => integer(18 + random.below(60)),
            Self::Money => cents(random, 2_000),
            Self::Percent => cents(random, 100),
            Self::Rating => Value::Real(1.0 + random.below(9) as f64 / 2.0),
            Self::Latitude => cents(random, 70),
            Self::Longitude => cents(random, 150),
            Self::Quantity => integer(random.below(120)),
            Self::Number => integer(random.below(500)),
            Self::FullName => {
                Value::Text(format!("{} {}", pick(&FIRST, random), pick(&LAST, random)))
            }
            Self::FirstName => text(pick(&FIRST, random)),
            Self::LastName => text(pick(&LAST, random)),
            Self::Email => Value::Text(format!(
                "{}.{}{}@example.com",
                pick(&FIRST, random).to_lowercase(),
                pick(&LAST, random).to_lowercase(),
                row + 1
            )),
            Self::Phone => Value::Text(format!("555-{:04}", 100 + random.below(9_000))),
            Self::City => text(pick(&CITIES, random)),
            Self::Country => text(pick(&COUNTRIES, random)),
            Self::Region => text(pick(&REGIONS, random)),
            Self::Street => {
                Value::Text(format!("{} {} Street", 1 + random.below(90), pick(&LAST, random)))
            }
            Self::PostalCode => Value::Text(format!("{:05}", 10_000 + random.below(80_000))),
            Self::Company => Value::Text(format!(
                "{} {}",
                pick(&WORDS, random),
                pick(&["Ltd", "Group", "Works", "Partners"], random)
            )),
            Self::Product => Value::Text(format!(
                "{} {}",
                pick(&WORDS, random),
                pick(&["Lamp", "Chair", "Kettle", "Jacket", "Notebook"], random)
            )),
            Self::Gender => text(pick(&["Female", "Male", "Other"], random)),
            Self::Status => text(pick(&["active", "pending", "completed", "cancelled"], random)),
            Self::Category => text(pick(&["Standard", "Premium", "Basic", "Special"], random)),
            Self::Department => {
                text(pick(&["Sales", "Engineering", "Finance", "Support", "Research"], random))
            }
            Self::Color => text(pick(&["Red", "Blue", "Green", "Black", "White"], random)),
            Self::Language => text(pick(&["English", "Spanish", "Hindi", "French"], random)),
            Self::Currency => text(pick(&["EUR", "USD", "JPY", "INR"], random)),
            Self::Url => Value::Text(format!("https://example.com/{}", row + 1)),
            Self::Code => Value::Text(format!(
                "{}-{:03}",
                pick(&["AX", "BN", "CT"], random),
                random.below(400)
            )),
            Self::Description => Value::Text(format!(
                "{} with {}",
                pick(&WORDS, random),
                pick(&WORDS, random).to_lowercase()
            )),
            Self::Label => text(pick(&WORDS, random)),
        }
    }
}

fn pick<'w>(words: &[&'w str], random: &mut Random) -> &'w str {
    let position = random.below(words.len() as u64);
    usize::try_from(position).ok().and_then(|position| words.get(position)).copied().unwrap_or("")
}

fn date(random: &mut Random) -> String {
    let (year, month) = (2020 + random.below(5), 1 + random.below(12));
    format!("{year}-{month:02}-{:02}", 1 + random.below(28))
}

fn time(random: &mut Random) -> String {
    format!("{:02}:{:02}:00", random.below(24), 15 * random.below(4))
}

/// The words of a name in lower case: `orderDate`, `order_date` and `Order Date` are two.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut previous = ' ';
    for character in name.chars() {
        let starts = character.is_uppercase() && previous.is_lowercase();
        if (!character.is_alphanumeric() || starts)
            && words.last().is_some_and(|word| !word.is_empty())
        {
            words.push(String::new());
        }
        if character.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(character.to_lowercase());
        }
        previous = character;
    }
    words.retain(|word| !word.is_empty());
    words
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

const FIRST: [&str; 20] = [
    "Ana", "Ben", "Chidi", "Dana", "Elena", "Farid", "Grace", "Hugo", "Ines", "Jonas", "Keiko",
    "Liam", "Maya", "Noah", "Olga", "Pavel", "Rosa", "Samir", "Tara", "Yusuf",
];

const LAST: [&str; 20] = [
    "Almeida", "Brown", "Castillo", "Dubois", "Evans", "Fischer", "Garcia", "Haddad", "Ito",
    "Jensen", "Kumar", "Lopez", "Moreau", "Novak", "Okafor", "Petrov", "Rossi", "Smith", "Tanaka",
    "Weber",
];

const CITIES: [&str; 10] = [
    "Lisbon", "Nairobi", "Toronto", "Osaka", "Berlin", "Lima", "Mumbai", "Oslo", "Cairo", "Sydney",
];

const COUNTRIES: [&str; 10] = [
    "Portugal",
    "Kenya",
    "Canada",
    "Japan",
    "Germany",
    "Peru",
    "India",
    "Norway",
    "Egypt",
    "Australia",
];

const REGIONS: [&str; 6] = ["North", "South", "East", "West", "Central", "Coast"];

const WORDS: [&str; 16] = [
    "Aurora", "Beacon", "Cedar", "Delta", "Ember", "Falcon", "Granite", "Harbor", "Ivory",
    "Juniper", "Lotus", "Meadow", "Orchid", "Pioneer", "Summit", "Willow",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_into_words_however_it_joins_them() {
        for name in ["orderDate", "order_date", "Order Date", "ORDER-DATE", "\"order_date\""] {
            assert_eq!(words(name), ["order", "date"], "{name}");
        }
    }

    #[test]
    fn the_type_and_the_name_say_what_a_column_holds() {
        for (column, data_type, table, sense) in [
            ("customer_id", "INT", "orders", Sense::Identifier),
            ("name", "VARCHAR(50)", "Customers", Sense::FullName),
            ("name", "TEXT", "Products", Sense::Product),
            ("name", "TEXT", "cities", Sense::City),
            ("hire_date", "DATE", "employees", Sense::Date),
            ("premier_date", "TEXT", "episodes", Sense::Date),
            ("year", "INTEGER", "films", Sense::Year),
            ("unit_price", "DECIMAL(10, 2)", "items", Sense::Money),
            ("points", "TEXT", "table_1", Sense::Quantity),
            ("is_active", "INTEGER", "users", Sense::Flag),
            ("billing_country", "TEXT", "invoices", Sense::Country),
            ("slogan", "TEXT", "table_1", Sense::Label),
            ("created_at", "TIMESTAMP", "users", Sense::Moment),
        ] {
            assert_eq!(Sense::of(column, data_type, table), sense, "{table}.{column}");
        }
    }

    #[test]
    fn affinities_are_sqlites() {
        for (data_type, affinity) in [
            ("CHARINT", Affinity::Integer),
            ("FLOATING POINT", Affinity::Integer),
            ("VARCHAR(20)", Affinity::Text),
            ("", Affinity::Blob),
            ("DOUBLE PRECISION", Affinity::Real),
            ("DATE", Affinity::Numeric),
            ("STRING", Affinity::Numeric),
        ] {
            assert_eq!(Affinity::of(data_type), affinity, "{data_type}");
            let connection = rusqlite::Connection::open_in_memory().unwrap();
            let stored = |kind: &str| -> String {
                let create = format!("DROP TABLE IF EXISTS t; CREATE TABLE t (a {kind});");
                connection.execute_batch(&create).unwrap();
                connection.execute("INSERT INTO t VALUES ('007'), (1.0)", []).unwrap();
                let sql = "SELECT group_concat(typeof(a) || a) FROM t";
                connection.query_row(sql, [], |row| row.get(0)).unwrap()
            };
            assert_eq!(stored(data_type), stored(affinity.type_name()), "{data_type}");
        }
    }
}
